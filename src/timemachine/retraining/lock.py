"""One round at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BusyError(Exception):
    """Another round is under way."""


@contextmanager
def one_at_a_time(root: Path) -> Iterator[int]:
    """Hold the lock of this repository and yield its file descriptor.

    The kernel frees it with the last process that has it open. A child that is given the descriptor keeps the
    lock when its parent is killed: then `dvc repro`, which nothing stops, is not met by a second one.

    Raises:
        BusyError: somebody holds it.
    """
    path = root / ".timemachine/retrain.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another round is under way: {path} is locked") from None
        yield descriptor
    finally:
        os.close(descriptor)
