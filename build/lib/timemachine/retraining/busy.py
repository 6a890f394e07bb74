"""What keeps a round from starting: another round, or a DVC that runs in the repository."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from timemachine.base.errors import UserError
from timemachine.pipeline.processes import describe, running_dvc
from timemachine.pipeline.repair import lock_owners

# Exit code of a command that could not start because of another process.
BUSY = 12

_SECONDS_BETWEEN_LOOKS = 1.0


class BusyError(UserError):
    """Another round, or a DVC, is running in the repository. The message names its PID and command."""


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
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holders = running_rounds(root) or running_dvc(root)
            who = f": {', '.join(map(describe, holders))}" if holders else ""
            raise BusyError(f"another round is running{who}; {path} is locked") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield file.fileno()
        finally:
            file.truncate(0)


def running_rounds(root: Path) -> list[int]:
    """Return the PID that holds the lock of a repository, if there is one that runs."""
    try:
        pid = int((root / ".timemachine/retrain.lock").read_text())
    except (OSError, ValueError):
        return []
    return [pid] if psutil.pid_exists(pid) else []


def check_no_dvc(root: Path) -> None:
    """Check that no DVC runs in a repository, of any user.

    Raises:
        BusyError: a DVC runs.
    """
    if pids := running_dvc(root, named=lock_owners(root) or ()):
        raise BusyError(f"DVC is running in this repository: {', '.join(map(describe, pids))}")


def when_free(act: Callable[[], int], wait_minutes: float, say: Callable[[str], object]) -> int:
    """Return what a function returns, or 12 if another round or a DVC blocks it for too long.

    Args:
        act: the function; it is called again after it raised `BusyError`.
        wait_minutes: time to wait for the other process, in minutes.
        say: called once with a line for each process that is waited for.
    """
    deadline_s, told = time.monotonic() + 60 * wait_minutes, ""
    while True:
        try:
            return act()
        except BusyError as busy:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                print(f"timemachine: {busy}", file=sys.stderr, flush=True)
                return BUSY
            if str(busy) != told:
                told = str(busy)
                say(f"waiting: {told}")
            time.sleep(min(_SECONDS_BETWEEN_LOOKS, left_s))
