"""What the stages and the DVC that runs them know of each other, and when a training passes from one to the other.

A stage that is done has yet to be filed: DVC hashes its results and writes the hashes into its lock. Killed before
that, it runs the stage once more, so until then the states of a training stay.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

# What DVC is called in a command.
DVC = ("dvc", "timemachine.pipeline.safe_dvc")
# Where in the repository the states of trainings lie, a folder each.
STATES = Path(".timemachine/resume")

_VARIABLE = "TIMEMACHINE_DVC"
_FINISHED = "finished"


def announce() -> None:
    """Let the stages that this process starts know that it files them: that it calls `filed`."""
    os.environ[_VARIABLE] = "1"


def is_announced() -> bool:
    """Return whether such a DVC has started this process, directly or not."""
    return _VARIABLE in os.environ


def hand_over(states: Path) -> bool:
    """Leave the states of a training that is done to the DVC that files its stage.

    Args:
        states: their folder.

    Returns:
        whether there is one; else they are the caller's to remove.
    """
    if not is_announced() or "DVC_STAGE" not in os.environ or not states.is_dir():
        return False
    try:
        (states / _FINISHED).write_text(os.environ["DVC_STAGE"])
    except OSError:
        return False
    return True


def filed(root: Path, stage: str) -> None:
    """Remove the states that a stage has left, now that it is in the lock.

    Args:
        root: the repository root, as the stage knew it.
        stage: as DVC calls it, for example `train_rnn@lstm`.
    """
    for finished in (root / STATES).glob(f"*/{_FINISHED}"):
        with suppress(OSError):  # another process is at it
            if finished.read_text() == stage:
                shutil.rmtree(finished.parent)
