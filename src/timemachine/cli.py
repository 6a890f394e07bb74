"""The console script `timemachine`."""

import shutil
import sys
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
    from timemachine.tracking.store import tracking_uri, without_password

    root = stage.repository_root()
    receipt = publish_state(params.load(root / "params.yaml"), root, root / "data")
    uri = without_password(tracking_uri(root))
    typer.echo(f"{uri} has state {receipt['state'][:8]} and {len(receipt['models'])} models")


@app.command()
def compare(
    names: Annotated[list[str] | None, typer.Argument(help="Models to show; all by default.")] = None,
    family: Annotated[str, typer.Option(help="rnn | ar")] = "rnn",
    metric: Annotated[list[str] | None, typer.Option(help="To show; may be repeated; the first ranks.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV in full precision.")] = False,
) -> None:
    """Print the models in MLflow, best first, with the params in which they differ; * marks the best."""
    from timemachine.tracking.compare import as_csv, as_text
    from timemachine.tracking.compare import compare as compare_runs

    root = stage.repository_root()
    experiment = params.load(root / "params.yaml").publish.experiment
    comparison = compare_runs(root, experiment, family=family, names=names or (), metrics=metric or ())
    if csv:
        typer.echo(as_csv(comparison), nl=False)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(as_text(comparison, width))


def main() -> None:
    """Run the console script; a user's mistake ends in one line."""
    with stage.one_line_errors("timemachine"):
        app()


if __name__ == "__main__":
    main()
