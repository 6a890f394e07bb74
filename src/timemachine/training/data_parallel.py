"""Data-parallel training: each process computes its share of the rows of every minibatch.

All processes draw the same minibatches and the same masks, and hold the same weights: torch's
`DistributedDataParallel` averages their gradients. A row stays in its process from one minibatch to the next,
with its state.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from timemachine.base.errors import UserError

if TYPE_CHECKING:
    from timemachine.training.loop import Loss

T = TypeVar("T")

# How long a process waits for the others when it starts, and later for those that work.
_START, _WORK = timedelta(minutes=2), timedelta(minutes=30)


class Ranks:
    """The processes of a training, as one of them sees them; by default it is alone.

    Args:
        rank: number of this process, from 0.
        size: number of processes.

    Attributes:
        rows: of the current minibatch, those that this process computes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.rows = slice(None)
        self._num_rows, self._weight = 0, 1.0

    @property
    def is_first(self) -> bool:
        """Whether this process writes, shows and logs what all of them have computed."""
        return self.rank == 0

    @property
    def described(self) -> dict[str, str]:
        """What the kind of machine of a checkpoint says about them: their number, or nothing for one."""
        return {"num_processes": str(self.size)} if self.size > 1 else {}

    def share(self, num_rows: int) -> slice:
        """Return the rows of this process; none if there are more processes than rows."""
        return slice(num_rows * self.rank // self.size, num_rows * (self.rank + 1) // self.size)

    def of_all(self, num_rows: int) -> int:
        """Return how many rows the current minibatch has in all processes if this one has `num_rows` of them."""
        return num_rows if self.size == 1 else self._num_rows

    def take(self, X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of this process of the next minibatch, (batch, …) each."""
        if self.size == 1:
            return X, Y
        own = self.share(len(X))
        self._weight = (own.stop - own.start) * self.size / len(X)
        # Without a row in a last, smaller minibatch, a process computes one that does not count.
        self._num_rows, self.rows = len(X), own if self._weight else slice(0, 1)
        return X[self.rows], Y[self.rows]

    def weighted(self, loss: "Callable[[Tensor, Tensor], Loss]") -> "Callable[[Tensor, Tensor], Loss]":
        """Return the loss of this process's rows, whose mean over the processes is that of the minibatch.

        The objective must be a mean over the labels.
        """

        def of_share(output: Tensor, Y: Tensor) -> "Loss":
            own = loss(output, Y)
            if self._weight == 1:
                return own
            counts = float(self._weight > 0)
            return replace(own, objective=own.objective * self._weight, total=own.total * counts)

        return of_share

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages the gradients of all processes."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def summed(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; it may overwrite the tensor."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def of_first(self, value: T) -> T:
        """Return the value that the first process has."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values)
        return values[0]


ALONE = Ranks()


@contextmanager
def joined(rank: int, size: int, device: torch.device) -> Iterator[Ranks]:
    """Connect this process with the others of a training: by NCCL if they compute on GPUs, and by gloo.

    The environment names where they meet, as torchrun sets it (`MASTER_ADDR` and `MASTER_PORT`).

    Args:
        rank: number of this process, from 0.
        size: number of processes; with 1 nothing is connected.
        device: what this process computes on.

    Raises:
        UserError: the port is taken, or not all processes come.
    """
    if size == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # `cuda` has no index, and set_device needs one
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    try:
        store, _, _ = next(rendezvous("env://", rank, size, timeout=_START))
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_WORK)
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            raise UserError(
                f"MASTER_PORT: {port} is taken; choose another port, or torchrun --standalone"
            ) from None
        first = str(error).partition("\n")[0]
        raise UserError(f"{size} processes were to meet at {host}:{port}: {first}") from None
    yield Ranks(rank, size)
    dist.destroy_process_group()  # after an error it could wait for a process that is gone
