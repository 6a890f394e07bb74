"""The pipeline of a repository, run by DVC's command line in one round at a time."""

import fcntl
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc


class BusyError(Exception):
    """Another round is running."""


@contextmanager
def one_at_a_time(root: Path) -> Iterator[int]:
    """Hold the lock of this repository and yield its file descriptor.

    Pass the descriptor to child processes. A lock of `flock` is released when the last process closes it, so a
    `dvc repro` that outlives a killed round keeps the lock, and no second round starts beside it.

    Raises:
        BusyError: another process holds the lock.
    """
    # Not `filelock.FileLock`: it does not expose its descriptor, so a child could not keep the lock.
    path = root / ".timemachine/retrain.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another round is running: {path} is locked") from None
        yield file.fileno()


@dataclass(frozen=True)
class Pipeline:
    """The pipeline of a repository.

    Attributes:
        root: the repository root.
        lock: file descriptor that is passed to the DVC processes that change files.
        max_hours: time after which a DVC command is ended.
    """

    root: Path
    lock: int
    max_hours: float

    def changed_stages(self) -> list[str]:
        """Return the stages whose code, params, inputs or outputs changed since their last run.

        Raises:
            UserError: `dvc status` fails.
        """
        stages = json.loads(self._dvc("status", "--json", quiet=True) or "{}")
        return [name for name in stages if not name.endswith(".dvc")]

    def reproduce(self) -> None:
        """Run the stages that are not up to date; the output of DVC is passed through.

        Raises:
            UserError: a stage failed, or DVC did not end in time.
        """
        self._dvc("repro")

    def push(self) -> bool:
        """Push data and run cache to the remote; return False if no remote is configured.

        Raises:
            UserError: the push fails.
        """
        if not self._dvc("remote", "list", quiet=True).strip():
            return False
        self._dvc("push", "--run-cache")
        return True

    def _dvc(self, *arguments: str, quiet: bool = False) -> str:
        """Run DVC and return what it printed, if it is quiet."""
        what = f"dvc {' '.join(arguments)}"
        kept = [] if quiet else [self.lock]
        limit_s = self.max_hours * 3600
        try:
            done = dvc.run(self.root, *arguments, capture_output=quiet, timeout_s=limit_s, pass_fds=kept)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"{what} did not end within {self.max_hours:g} hours (retraining.max_hours) and was ended"
            ) from None
        if done.returncode == 0:
            return done.stdout or ""
        if not quiet:
            raise UserError(f"{what} failed; its messages are above")
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed without a message"]
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise UserError(f"{what}: {errors[-1].removeprefix('ERROR: ')}")
