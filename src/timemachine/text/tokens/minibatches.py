"""Three ways to sample minibatches from a long sequence.

Each takes tokens of shape (num_tokens,) and returns pairs (X, Y) of shape (batch, num_steps) on the device of the
tokens, where Y is X shifted by one token. The tokens may be of any integer type, so that a long text need not take
8 bytes per token; X and Y are of int64. Random numbers are drawn on the CPU, so the minibatches are the same on
every device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from timemachine.base.errors import UserError
from timemachine.text.tokens.config import least_tokens


@dataclass(frozen=True)
class Minibatches:
    """An iterable of pairs (X, Y), which are copied from the tokens during iteration.

    Attributes:
        tokens: (num_tokens,) indices.
        starts: for each minibatch, (batch,) positions of the first tokens of its subsequences.
        num_steps: number of tokens of a subsequence.
    """

    tokens: Tensor
    starts: Sequence[Tensor]
    num_steps: int

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        every = self.tokens.unfold(0, self.num_steps + 1, 1)  # a view; rows are copied faster than single tokens
        for chosen in self.starts:
            subsequences = every.index_select(0, chosen).long()  # (batch, num_steps + 1)
            yield subsequences[:, :-1], subsequences[:, 1:]


def random_sampling(tokens: Tensor, batch_size: int, num_steps: int, generator: Generator) -> Minibatches:
    """Return subsequences that do not overlap, in random order.

    A random number of 0 … num_steps − 1 tokens is dropped first. The rest is divided into ⌊(len − 1) / num_steps⌋
    subsequences; those that do not fill a minibatch are left out.

    Raises:
        UserError: too few tokens for one minibatch at the largest offset.
    """
    _require(tokens, least_tokens("random", batch_size, num_steps), batch_size, num_steps)
    offset = int(torch.randint(num_steps, (), generator=generator))
    num_subsequences = (len(tokens) - offset - 1) // num_steps
    order = torch.randperm(num_subsequences, generator=generator).to(tokens.device)
    starts = offset + num_steps * order[: num_subsequences // batch_size * batch_size]
    return Minibatches(tokens, starts.split(batch_size), num_steps)


def sequential_partitioning(
    tokens: Tensor, batch_size: int, num_steps: int, generator: Generator | None
) -> Minibatches:
    """Divide the sequence into `batch_size` rows, and return consecutive subsequences of all rows.

    Row i of a minibatch continues row i of the minibatch before. A random number of 0 … num_steps tokens is
    dropped first, or none without a generator.

    Raises:
        UserError: too few tokens for one minibatch at the largest offset.
    """
    _require(tokens, least_tokens("sequential", batch_size, num_steps, bool(generator)), batch_size, num_steps)
    offset = int(torch.randint(num_steps + 1, (), generator=generator)) if generator else 0
    row_length = (len(tokens) - offset - 1) // batch_size
    begins = torch.arange(0, row_length // num_steps * num_steps, num_steps, device=tokens.device)
    rows = offset + row_length * torch.arange(batch_size, device=tokens.device)
    return Minibatches(tokens, (begins[:, None] + rows).unbind(0), num_steps)


def windows(
    tokens: Tensor, batch_size: int, num_steps: int, generator: Generator | None, stride: int = 1
) -> Minibatches:
    """Return all windows of `num_steps` + 1 tokens at multiples of a stride, shuffled if there is a generator.

    The last minibatch may be smaller.

    Raises:
        UserError: too few tokens for one window.
    """
    _require(tokens, least_tokens("windows", 1, num_steps), 1, num_steps)
    # One integer for each token of a long text: half the size, if it fits, and one array in place of three.
    num_windows, dtype = (
        -(-(len(tokens) - num_steps) // stride),
        torch.int32 if len(tokens) < 2**31 else torch.int64,
    )
    if generator:
        order = torch.randperm(num_windows, dtype=dtype, generator=generator).to(tokens.device)
    else:
        order = torch.arange(num_windows, dtype=dtype, device=tokens.device)
    starts = order.mul_(stride)
    return Minibatches(tokens, starts.split(batch_size), num_steps)


def _require(tokens: Tensor, num_needed: int, batch_size: int, num_steps: int) -> None:
    if len(tokens) < num_needed:
        raise UserError(
            f"{len(tokens)} tokens are too few for batch_size {batch_size} x num_steps {num_steps}: "
            f"at least {num_needed} are needed"
        )
