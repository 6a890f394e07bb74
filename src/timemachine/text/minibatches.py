"""Three ways to cut minibatches out of one long sequence.

Each takes tokens of shape (num_tokens,) and yields pairs (X, Y) of shape (batch, num_steps), where Y is X
shifted by one token, on the device of `tokens`. What is random comes from a generator on the CPU, so that
every device sees the same minibatches.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

Minibatches = Iterator[tuple[Tensor, Tensor]]


def random_sampling(tokens: Tensor, batch_size: int, num_steps: int, generator: Generator) -> Minibatches:
    """Yield subsequences that do not overlap, in random order.

    A random offset of 0 … num_steps − 1 tokens is dropped and the rest cut into
    ⌊(len − 1) / num_steps⌋ subsequences; those that do not fill a minibatch are left out.

    Raises:
        ValueError: too few tokens for one minibatch at the largest offset.
    """
    _require(tokens, batch_size * num_steps + num_steps, batch_size, num_steps)
    offset = int(torch.randint(num_steps, (), generator=generator))
    num_subsequences = (len(tokens) - offset - 1) // num_steps
    order = torch.randperm(num_subsequences, generator=generator).to(tokens.device)
    starts = offset + num_steps * order
    for chosen in starts[: num_subsequences // batch_size * batch_size].view(-1, batch_size):
        yield _gather(tokens, chosen, num_steps)


def sequential_partitioning(
    tokens: Tensor, batch_size: int, num_steps: int, generator: Generator | None
) -> Minibatches:
    """Fold the sequence into `batch_size` rows and step through them side by side.

    Row i of each minibatch continues row i of the one before. A random offset of 0 … num_steps tokens is
    dropped first; none without a generator.

    Raises:
        ValueError: too few tokens for one minibatch at the largest offset.
    """
    _require(tokens, (batch_size + bool(generator)) * num_steps + 1, batch_size, num_steps)
    offset = int(torch.randint(num_steps + 1, (), generator=generator)) if generator else 0
    row_length = (len(tokens) - offset - 1) // batch_size
    num_tokens = row_length * batch_size
    X = tokens[offset : offset + num_tokens].view(batch_size, row_length)
    Y = tokens[offset + 1 : offset + 1 + num_tokens].view(batch_size, row_length)
    for begin in range(0, row_length // num_steps * num_steps, num_steps):
        yield X[:, begin : begin + num_steps], Y[:, begin : begin + num_steps]


def windows(
    tokens: Tensor, batch_size: int, num_steps: int, generator: Generator | None, stride: int = 1
) -> Minibatches:
    """Yield all windows of `num_steps` + 1 tokens at a stride, shuffled if there is a generator.

    The last minibatch may be smaller.

    Raises:
        ValueError: not even one window.
    """
    _require(tokens, num_steps + 1, 1, num_steps)
    starts = torch.arange(0, len(tokens) - num_steps, stride, device=tokens.device)
    if generator:
        starts = starts[torch.randperm(len(starts), generator=generator).to(tokens.device)]
    for chosen in starts.split(batch_size):
        yield _gather(tokens, chosen, num_steps)


def _gather(tokens: Tensor, starts: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
    positions = starts[:, None] + torch.arange(num_steps + 1, device=tokens.device)
    window = tokens[positions]  # (batch, num_steps + 1)
    return window[:, :-1], window[:, 1:]


def _require(tokens: Tensor, num_needed: int, batch_size: int, num_steps: int) -> None:
    if len(tokens) < num_needed:
        raise ValueError(
            f"{len(tokens)} tokens are too few for batch_size {batch_size} x num_steps {num_steps}: "
            f"at least {num_needed} are needed"
        )
