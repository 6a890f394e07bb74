"""A stage in several processes: how it starts them, and what each is told by torchrun."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from timemachine.base.errors import UserError

# What torchrun, or another launcher, tells each process.
_COUNTS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
# What gloo and NCCL say when another process has ended or hangs. gloo has no type of error of its own.
_GONE = ("closed by peer", "reset by peer", "Broken pipe", "remote process exited", "Timed out waiting")


class Place(NamedTuple):
    """The place of this process among those of a training.

    Attributes:
        rank: its number, from 0.
        size: number of processes.
        local_rank: its number on this machine, from 0.
        num_local: number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    num_local: int = 1


def place(script: Path, several: bool) -> Place | None:
    """Return what a launcher says about this process of a stage, or None if no launcher started it.

    Args:
        script: of the stage.
        several: whether the stage can run in several processes.

    Raises:
        UserError: torchrun has started a stage that runs in one process, or a part of the environment that it sets
            is absent or wrong.
    """
    if by_torchrun() and not several:
        raise UserError(f"{script} runs in one process; start it without torchrun")
    found = [name for name in _COUNTS if name in os.environ]
    if not several or not found:
        return None
    advice = f"start the stage with torchrun, or unset {', '.join(found)}"
    if absent := [name for name in (*_COUNTS, *_ADDRESS) if not os.environ.get(name)]:
        raise UserError(f"{', '.join(found)} set without {', '.join(absent)}; {advice}")
    port = os.environ["MASTER_PORT"]
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"MASTER_PORT: {port!r} is not in 1 ... 65535; {advice}")
    texts = [os.environ[name] for name in _COUNTS]
    if all(text.isdecimal() for text in texts):
        here = Place(*map(int, texts))
        if here.rank < here.size and here.local_rank < here.num_local <= here.size:
            return here
    shown = " ".join(f"{name}={text}" for name, text in zip(_COUNTS, texts, strict=True))
    raise UserError(f"{shown} is not the place of a process; {advice}")


def start(num_processes: int) -> Place:
    """Let torchrun, in place of this process, run the stage in several processes; return if one is enough.

    Args:
        num_processes: how many a recipe asks for.
    """
    if num_processes > 1:
        # torchrun would set this itself, with a warning. Each process sets its number of threads.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
        os.execv(sys.executable, [sys.executable, *command, *sys.argv])  # noqa: S606
    return Place()


def by_torchrun() -> bool:
    """Return whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_silent(error: BaseException) -> bool:
    """Return whether this process of torchrun leaves it to others to print an error that all of them have.

    The first process of a machine prints them. That another process has ended is printed by two: if one of the two
    was killed, the other one is left.
    """
    if not by_torchrun():
        return False
    num_speakers = {UserError: 1, KeyboardInterrupt: 1, ConnectionError: 2}
    limits = [number for kind, number in num_speakers.items() if isinstance(error, kind)]
    local_rank = os.environ.get("LOCAL_RANK", "")  # `place` reports that it is absent or wrong
    return bool(limits) and local_rank.isdecimal() and int(local_rank) >= min(limits)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Raise a `ConnectionError` if the block fails because another process of a training has ended.

    From then on signals are ignored, so that the block around this one can save its work: torchrun ends all
    processes when one has failed.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(text in str(error) for text in _GONE):
            raise
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise ConnectionError("another process of the training has ended, or does not answer") from error
