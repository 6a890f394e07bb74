"""Commands that run the pipeline and show its results."""

import re
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from timemachine.base.errors import UserError
from timemachine.commands.repository import experiment
from timemachine.pipeline import completion, stage


def repro(context: typer.Context) -> None:
    """Repair the repository, check params.yaml, and run `dvc repro` with the arguments given (`dvc repro -h`)."""
    from timemachine.pipeline.dvc import repro as become_dvc

    arguments = [argument for argument in context.args if argument != "--debug"]
    become_dvc(stage.repository_root(), arguments, typer.echo)


def repair() -> None:
    """Repair what a killed DVC, a full disk or a power cut has left in this repository.

    Each repair is reported in a line. While DVC runs in this repository nothing is changed.
    """
    from timemachine.pipeline.repair import repair as repair_all

    repair_all(stage.repository_root(), typer.echo, everything=True)


def print_params(
    name: Annotated[
        str,
        Argument(
            help="A section, an entry such as train_rnn.lstm, or a recipe: lstm.",
            autocompletion=completion.sections,
        ),
    ],
) -> None:
    """Print a section or a recipe of params.yaml with all its knobs, those with their default too."""
    from timemachine.pipeline import params

    typer.echo(params.in_full(params.load(stage.repository_root() / "params.yaml"), name), nl=False)


def publish() -> None:
    """Log the results of the pipeline to MLflow. Results that MLflow has already are not logged again."""
    from timemachine.pipeline import params
    from timemachine.pipeline.progress import show_progress
    from timemachine.tracking.address import hide_secrets, tracking_uri
    from timemachine.tracking.publish import publish_state

    root = stage.repository_root()
    checked = params.load(root / "params.yaml")
    with show_progress("publish") as show:
        receipt = publish_state(checked, root, root / "data", show)
    uri = hide_secrets(tracking_uri(root))
    typer.echo(f"{uri} has state {receipt['state'][:8]} and {len(receipt['models'])} models")


def verify(
    tolerance: Annotated[
        float, Option(help="Largest relative difference of a number on another kind of machine.")
    ] = 0.01,
) -> None:
    """Run the whole pipeline again in a clean copy and compare all outputs with dvc.lock.

    Exit codes: 0 all bytes are equal, or all numbers agree on another kind of machine; 1 they differ.
    """
    if not 0 <= tolerance < 1:
        raise UserError(f"--tolerance: {tolerance} is not from 0 to 1")
    from timemachine.provenance.verify import verify_pipeline

    with stage.interruptible():
        good = verify_pipeline(stage.repository_root(), tolerance, typer.echo)
    raise typer.Exit(0 if good else 1)


def trace(
    target: Annotated[str, Argument(help="An output of the pipeline, or the ID of an MLflow run.")],
) -> None:
    """Print the text, params, commit and machine that a result came from, and how to reproduce it."""
    if re.fullmatch(r"[0-9a-f]{32}", target) and not Path(target).exists():
        from timemachine.tracking.run_origin import trace_run

        lines = trace_run(*experiment(), target)
    else:
        from timemachine.provenance.trace import trace_output

        lines = list(trace_output(stage.repository_root(), target))
    typer.echo("\n".join(lines))


def report(
    output: Annotated[
        Path | None, Option(help="HTML file to write. Default: report.html in the repository root.")
    ] = None,
) -> None:
    """Write the report, one HTML file that shows all results, the state of the repository and the rounds."""
    if output is not None and output.is_dir():
        raise UserError(f"--output: {output} is a folder; give the name of a file")
    from timemachine.report.command import write_report

    write_report(stage.repository_root(), output, typer.echo)


def ui(port: Annotated[int, Option(min=1, max=65535, help="Port of 127.0.0.1.")] = 5000) -> None:
    """Start MLflow's page on 127.0.0.1 and print the addresses of tables of models, forecasts and retraining."""
    from timemachine.tracking.ui import open_page

    open_page(*experiment(), port)
