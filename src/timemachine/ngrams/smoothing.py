"""Additively smoothed uni-, bi- and trigram models and the probability of a sequence under them.

With n words in all, m distinct ones and ε = (ε₁, ε₂, ε₃):

    P̂(x)        = (n(x) + ε₁/m) / (n + ε₁)
    P̂(x' | x)   = (n(x,x') + ε₂ P̂(x')) / (n(x) + ε₂)
    P̂(x'' | x,x') = (n(x,x',x'') + ε₃ P̂(x'')) / (n(x,x') + ε₃)

ε = 0 is maximum likelihood; ε₁ → ∞ the uniform distribution.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.ngrams.counts import pack

Probabilities = NDArray[np.float64]


class SmoothedNgrams:
    """The three estimates of the book from one training sequence.

    The count of a context is the number of n-grams that continue it, so that every conditional distribution
    sums to 1; it differs from the count of the context alone only for the last words of the text.

    Args:
        tokens: (num_tokens,) training sequence of indices below `vocab_size`.
        vocab_size: number of indices.
        num_distinct: m of the equations.
        epsilon: ε₁, ε₂, ε₃.
    """

    def __init__(
        self, tokens: NDArray[np.integer], vocab_size: int, num_distinct: int, epsilon: Sequence[float]
    ) -> None:
        self.vocab_size = vocab_size
        self.num_distinct = num_distinct
        self.epsilon = tuple(epsilon)
        self._tables = []
        for n in (1, 2, 3):
            rows = np.lib.stride_tricks.sliding_window_view(tokens, n)
            joint = np.unique(pack(rows, vocab_size), return_counts=True)
            context = np.unique(pack(rows[:, :-1], vocab_size), return_counts=True)
            self._tables.append((joint, context))

    def probabilities(self, ngrams: NDArray[np.integer]) -> Probabilities:
        """Return P̂ of the last token of each row given the ones before it.

        Args:
            ngrams: (num_rows, n) token indices, n = 1, 2 or 3.

        Returns:
            (num_rows,) probabilities; after a context never seen, without smoothing, 0.
        """
        n = ngrams.shape[1]
        joint, context = self._tables[n - 1]
        epsilon = self.epsilon[n - 1]
        lower = 1 / self.num_distinct if n == 1 else self.probabilities(ngrams[:, -1:])
        numerator = _look_up(joint, pack(ngrams, self.vocab_size)) + epsilon * lower
        denominator = _look_up(context, pack(ngrams[:, :-1], self.vocab_size)) + epsilon
        return np.divide(numerator, denominator, out=np.zeros(len(ngrams)), where=denominator > 0)

    def log_probabilities(self, tokens: NDArray[np.integer], order: int) -> Probabilities:
        """Return log P̂ of each token of a sequence by the chain rule, in nats; −∞ where P̂ is 0.

        The first tokens, which have fewer than order − 1 before them, are given what there is.

        Args:
            tokens: (num_tokens,) indices.
            order: 1 (unigram), 2 (bigram) or 3 (trigram).
        """
        parts = [self.probabilities(tokens[None, : n + 1]) for n in range(min(order - 1, len(tokens)))]
        if len(tokens) >= order:
            parts.append(self.probabilities(np.lib.stride_tricks.sliding_window_view(tokens, order)))
        with np.errstate(divide="ignore"):
            return np.log(np.concatenate([np.empty(0), *parts]))


def _look_up(table: tuple[NDArray[np.int64], NDArray[np.int64]], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the count of each key, 0 for those not in the table."""
    known, counts = table
    if not len(known):
        return np.zeros(len(keys), dtype=np.int64)
    position = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[position] == keys, counts[position], 0)
