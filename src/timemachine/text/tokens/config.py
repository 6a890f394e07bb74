"""The levels of tokens, and the ways of sampling minibatches."""

from typing import Literal

Level = Literal["char", "word"]
Sampling = Literal["sequential", "random", "windows"]


def least_tokens(sampling: Sampling, batch_size: int, num_steps: int, with_offset: bool = True) -> int:
    """Return the fewest tokens that give a minibatch, at the largest random offset if there is one."""
    if sampling == "windows":
        return num_steps + 1
    return (batch_size + with_offset) * num_steps + (sampling == "sequential")
