"""Commands of retraining."""

import shutil
from typing import Annotated

import typer
from typer import Option

from timemachine.commands.repository import experiment
from timemachine.pipeline import stage

Wait = Annotated[
    float, Option("--wait", metavar="MINUTES", min=0, help="Wait this long for another round, or DVC, to end.")
]


def retrain(
    dry_run: Annotated[bool, Option("--dry-run", help="Print what would be done, without doing it.")] = False,
    notify: Annotated[
        str,
        Option(
            envvar="TIMEMACHINE_NOTIFY",
            metavar="COMMAND",
            help="Command to run (without a shell) with the JSON report on its standard input.",
        ),
    ] = "",
    wait: Wait = 0.0,
) -> None:
    """Accept new texts, run the pipeline, and promote the best model if it passes the gate.

    Exit codes: 0 promoted, 10 nothing new, 11 rejected, 12 another round or DVC is running, and nothing was
    changed, 1 failed. With --dry-run, 0 means that there is something to do.
    """
    from timemachine.retraining import round as one_round

    root, say = stage.repository_root(), typer.echo
    if dry_run:
        raise typer.Exit(one_round.dry_run(root, say, wait))
    raise typer.Exit(one_round.run_round(root, notify, say, wait))


def rollback(wait: Wait = 0.0) -> None:
    """Make the previous champion champion again. The present champion is not promoted again.

    Exit codes: 0 done, 12 a round is running, 1 failed or no previous champion. It does not wait for DVC.
    """
    from timemachine.retraining import round as one_round

    raise typer.Exit(one_round.undo_promotion(stage.repository_root(), typer.echo, wait))


def history(csv: Annotated[bool, Option("--csv", help="Print CSV with all digits and columns.")] = False) -> None:
    """Print a table of the rounds of retraining, the newest last: verdicts, scores, texts and minutes.

    challenger, champion and baseline are bits per character on the validation
    part; lower is better. Of a rollback, champion is the restored version.
    """
    from timemachine.retraining.history import as_csv, as_text, read_rounds

    rounds = read_rounds(*experiment())
    typer.echo(as_csv(rounds) if csv else as_text(rounds, shutil.get_terminal_size().columns), nl=False)


def status() -> None:
    """Print what is served, what waits, what runs, the last round, and how much the results take on the disk."""
    from timemachine.retraining.status import read_status

    typer.echo(read_status(stage.repository_root(), shutil.get_terminal_size().columns), nl=False)


def clean(
    keep: Annotated[int, Option(min=0, help="Number of the last rounds whose models and data are kept too.")],
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print what would be removed, without removing it.")
    ] = False,
    wait: Wait = 0.0,
) -> None:
    """Remove what old rounds have left in DVC's cache, MLflow and .timemachine.

    The champion, the previous champion and the challenger are kept with the
    data that they were trained on, and so is what the last rounds judged. In
    DVC's cache, what the workspace, a branch, a tag or an experiment needs is
    kept, too.

    Exit codes: 0 done, 12 a round or DVC is running, and nothing was removed,
    1 failed.
    """
    from timemachine.retraining.clean import clean as remove_leftovers

    root = stage.repository_root()
    raise typer.Exit(remove_leftovers(root, keep, typer.echo, dry_run=dry_run, wait_minutes=wait))
