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

from timemachine.language.ngrams.counts import find, pack

Counts = NDArray[np.int64]
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
        self.epsilon = list(epsilon)
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
        return _smooth(*self.evidence(ngrams), self.epsilon[ngrams.shape[1] - 1])

    def evidence(self, ngrams: NDArray[np.integer]) -> tuple[Counts, Counts, Probabilities]:
        """Return what an estimate rests on: how often rows (num_rows, n) and their contexts occur, and P̂ below.

        The last is that of the last token alone, or uniform for n = 1.
        """
        n = ngrams.shape[1]
        joint, context = self._tables[n - 1]
        return (
            _look_up(joint, pack(ngrams, self.vocab_size)),
            _look_up(context, pack(ngrams[:, :-1], self.vocab_size)),
            np.full(len(ngrams), 1 / self.num_distinct) if n == 1 else self.probabilities(ngrams[:, -1:]),
        )

    def log_probabilities(self, tokens: NDArray[np.integer], order: int, first: int = 0) -> Probabilities:
        """Return log P̂ of tokens[first:] by the chain rule, in nats; −∞ where P̂ is 0.

        The first tokens of all, which have fewer than order − 1 before them, are given what there is.

        Args:
            tokens: (num_tokens,) indices.
            order: 1 (unigram), 2 (bigram) or 3 (trigram).
            first: index of the first token to score; those before it are context.
        """
        parts = [self.probabilities(tokens[None, : n + 1]) for n in range(first, min(order - 1, len(tokens)))]
        if len(tokens) >= order:
            rows = np.lib.stride_tricks.sliding_window_view(tokens, order)
            parts.append(self.probabilities(rows[max(first - order + 1, 0) :]))
        with np.errstate(divide="ignore"):
            return np.log(np.concatenate([np.empty(0), *parts]))


def choose_epsilon(
    tokens: NDArray[np.integer], num_train: int, vocab_size: int, num_distinct: int
) -> tuple[float, float, float]:
    """Return the ε, to four digits, under which what follows the training tokens is most probable.

    ε₁ is chosen first, then ε₂ and ε₃ each given ε₁, because nothing else enters their equations.

    Args:
        tokens: (num_tokens,) training sequence and, after it, what to choose on.
        num_train: tokens of the training sequence.
        vocab_size: number of indices.
        num_distinct: m of the equations.
    """
    model = SmoothedNgrams(tokens[:num_train], vocab_size, num_distinct, (0.0, 0.0, 0.0))
    for n in (1, 2, 3):
        rows = np.lib.stride_tricks.sliding_window_view(tokens, n)[max(num_train - n + 1, 0) :]
        model.epsilon[n - 1] = _best_epsilon(*model.evidence(rows))
    return (model.epsilon[0], model.epsilon[1], model.epsilon[2])


def _best_epsilon(joint: Counts, context: Counts, lower: Probabilities) -> float:
    """Return the best of a logarithmic grid from 10⁻⁶ to 10⁶, refined around its best until four digits stand."""
    low, high = -6.0, 6.0
    for _ in range(4):
        grid = np.linspace(low, high, 25)
        nats = [-np.log(_smooth(joint, context, lower, 10**exponent)).sum() for exponent in grid]
        best = int(np.argmin(nats))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 24)]
    return float(f"{10 ** grid[best]:.4g}")


def _smooth(joint: Counts, context: Counts, lower: Probabilities, epsilon: float) -> Probabilities:
    """Return (n(h, x) + ε P̂(x)) / (n(h) + ε), 0 where that is 0/0."""
    denominator = context + epsilon
    return np.divide(joint + epsilon * lower, denominator, out=np.zeros(len(joint)), where=denominator > 0)


def _look_up(table: tuple[Counts, Counts], keys: Counts) -> Counts:
    """Return the count of each key, 0 for those not in the table."""
    known, counts = table
    return np.append(counts, 0)[find(known, keys)]
