"""The probability of a text under n-gram models of all orders, by the chain rule."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.hashing import Ids
from timemachine.language.ngrams.trie import Trie

Array = NDArray[np.float64]


class NgramModel(Protocol):
    """Models of every order from 1 to a highest one, from the n-grams of `trie`."""

    trie: Trie

    def probabilities_by_order(self, ids: Sequence[Ids]) -> Iterator[Array]:
        """Yield P of each of the tokens after the first n − 1, (num_tokens − n + 1,), for the orders n = 1, 2, …

        Args:
            ids: return value of `trie.ids` on the tokens (num_tokens,).
        """


def log_probabilities(model: NgramModel, tokens: NDArray[np.integer], order: int, first: int = 0) -> Array:
    """Return log P of tokens[first:], each given the order − 1 tokens before it, in nats; −∞ where P is 0.

    At the start of `tokens`, where fewer tokens come before, the model of a lower order is used.

    Args:
        model: the models of all orders.
        tokens: (num_tokens,) indices.
        order: order of the model.
        first: index of the first token to score; the tokens before it are only context.

    Raises:
        ValueError: the model has no such order.
    """
    begin = max(first - order + 1, 0)
    *_, log_P = log_probabilities_by_order(model, model.trie.ids(tokens[begin:], order), first - begin)
    return log_P


def log_probabilities_by_order(model: NgramModel, ids: Sequence[Ids], first: int) -> Iterator[Array]:
    """Yield what `log_probabilities` returns, for the orders 1, 2, …, each level of which is computed once.

    Args:
        model: the models of all orders.
        ids: return value of `model.trie.ids` on the tokens (num_tokens,), by order from 0.
        first: index of the first token to score.
    """
    P = np.empty(0)
    for n, of_order in enumerate(model.probabilities_by_order(ids), 1):
        P = np.concatenate([P[: n - 1], of_order])
        with np.errstate(divide="ignore"):
            log_P = np.log(P[first:])
        yield log_P
