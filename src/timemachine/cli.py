"""The console script `timemachine`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer import Option

from timemachine.commands import models, pipeline, retraining, texts
from timemachine.commands.forecast import forecast
from timemachine.pipeline import stage

_PANELS: dict[str, list[Callable[..., Any]]] = {
    "Pipeline": [pipeline.repair, pipeline.publish, pipeline.verify, pipeline.trace, pipeline.report, pipeline.ui],
    "Models": [models.compare, models.generate, forecast, models.serve],
    "Retraining": [
        retraining.retrain,
        retraining.rollback,
        retraining.history,
        retraining.status,
        retraining.clean,
    ],
}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
_unparsed = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command(rich_help_panel="Pipeline", context_settings=_unparsed)(pipeline.repro)
app.command("add-text", rich_help_panel="Pipeline")(texts.add_text)
app.command("params", rich_help_panel="Pipeline")(pipeline.print_params)
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"timemachine {metadata.version('timemachine')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Publish, compare, use and verify the results of the pipeline, and retrain its models."""
    # --debug is read by `stage.one_line_errors`, which wraps all commands.


def main() -> None:
    """Run the console script; user errors are printed as one line."""
    with stage.one_line_errors("timemachine"):
        try:
            app()
        except SystemExit as end:
            if end.code == stage.INTERRUPTED:  # typer turns Ctrl-C into this exit code
                raise KeyboardInterrupt from None
            raise


if __name__ == "__main__":
    main()
