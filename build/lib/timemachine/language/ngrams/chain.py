"""The probability of a text under an n-gram model, by the chain rule."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class NgramModel(Protocol):
    """A model of every order from 1 to a highest one."""

    def probabilities(self, tokens: NDArray[np.integer], order: int) -> NDArray[np.float64]:
        """Return P of each of the tokens (num_tokens,) after the first order − 1, (num_tokens − order + 1,)."""


def log_probabilities(
    model: NgramModel, tokens: NDArray[np.integer], order: int, first: int = 0
) -> NDArray[np.float64]:
    """Return log P of tokens[first:], each given the order − 1 tokens before it, in nats; −∞ where P is 0.

    At the start of `tokens`, where fewer tokens come before, the model of a lower order is used.

    Args:
        model: the models of all orders.
        tokens: (num_tokens,) indices.
        order: order of the model.
        first: index of the first token to score; the tokens before it are only context.
    """
    parts = [model.probabilities(tokens[: n + 1], n + 1) for n in range(first, min(order - 1, len(tokens)))]
    begin = max(first - order + 1, 0)
    if len(tokens) - begin >= order:
        parts.append(model.probabilities(tokens[begin:], order))
    with np.errstate(divide="ignore"):
        return np.log(np.concatenate([np.empty(0), *parts]))
