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


@app.command()
def retrain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    notify: Annotated[
        str,
        typer.Option(
            envvar="TIMEMACHINE_NOTIFY",
            metavar="COMMAND",
            help="Call this, without a shell, with the JSON report on its standard input.",
        ),
    ] = "",
) -> None:
    """Take new texts in, run what changed, and promote the best model if it passes the gate.

    Exit codes: 0 promoted, 10 nothing new, 11 rejected, 12 another round is under way, 1 failed. With --dry-run
    0 says that there is something to do.
    """
    from timemachine.retraining import round as one_round

    root = stage.repository_root()
    say = typer.echo
    raise typer.Exit(one_round.dry_run(root, say) if dry_run else one_round.retrain(root, notify, say))


@app.command()
def rollback() -> None:
    """Put the previous champion back; no round promotes the other one again.

    Exit codes: 0 done, 12 a round is under way, 1 failed, or there is nothing to roll back to.
    """
    from timemachine.retraining import round as one_round

    raise typer.Exit(one_round.rollback(stage.repository_root(), typer.echo))


def main() -> None:
    """Run the console script; a user's mistake ends in one line."""
    with stage.one_line_errors("timemachine"):
        app()


if __name__ == "__main__":
    main()
