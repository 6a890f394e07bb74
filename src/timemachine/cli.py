"""The console script `timemachine`."""

from typing import Annotated

import typer

from timemachine import params, stage

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    """What `dvc repro` does not do: look after the results of the pipeline."""
    # `stage.one_line_errors`, which stands around all commands, looks for --debug itself.


@app.command()
def publish() -> None:
    """Fill MLflow from the files of the pipeline; what it has already is left alone."""
    from timemachine.tracking.publish import publish as publish_state
    from timemachine.tracking.store import tracking_uri

    root = stage.repository_root()
    receipt = publish_state(params.load(root / "params.yaml"), root, root / "data")
    typer.echo(f"{tracking_uri(root)} has state {receipt['state'][:8]} and {len(receipt['models'])} models")


def main() -> None:
    """Run the console script; a user's mistake ends in one line."""
    with stage.one_line_errors("timemachine"):
        app()


if __name__ == "__main__":
    main()
