"""The lock that lets one round of retraining run at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another round is running: {path} is locked") from None
        yield descriptor
    finally:
        os.close(descriptor)
