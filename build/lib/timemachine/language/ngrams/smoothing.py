"""Additively smoothed uni-, bi- and trigram models and the probability of a sequence under them.

With n words, m of them distinct, and ε = (ε₁, ε₂, ε₃):

    P̂(x)        = (n(x) + ε₁/m) / (n + ε₁)
    P̂(x' | x)   = (n(x,x') + ε₂ P̂(x')) / (n(x) + ε₂)
    P̂(x'' | x,x') = (n(x,x',x'') + ε₃ P̂(x'')) / (n(x,x') + ε₃)

ε = 0 is maximum likelihood; ε₁ → ∞ gives the uniform distribution.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.counts import find_keys, pack

Counts = NDArray[np.int64]
Probabilities = NDArray[np.float64]


class SmoothedNgrams:
    """The three estimates of the book, from one training sequence.

    The count of a context is the number of n-grams that begin with it, so that every conditional distribution
    sums to 1. It differs from the number of occurrences of the context only at the end of the text.

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

    def probabilities(self, tokens: NDArray[np.integer], order: int) -> Probabilities:
        """Return P̂ of each of the tokens (num_tokens,) after the first order − 1, (num_tokens − order + 1,).

        It is 0 after an unseen context if there is no smoothing.

        Args:
            tokens: at least `order` indices.
            order: 1 (unigram), 2 (bigram) or 3 (trigram).
        """
        return _smooth(*self.evidence(tokens, order), self.epsilon[order - 1])

    def evidence(self, tokens: NDArray[np.integer], order: int) -> tuple[Counts, Counts, Probabilities]:
        """Return the terms of the P̂ that `probabilities` returns: the counts of n-grams and contexts, and lower P̂.

        The lower P̂ is that of the last token alone, or uniform for order 1.
        """
        joint, context = self._tables[order - 1]
        rows = np.lib.stride_tricks.sliding_window_view(tokens, order)
        return (
            _look_up(joint, pack(rows, self.vocab_size)),
            _look_up(context, pack(rows[:, :-1], self.vocab_size)),
            np.full(len(rows), 1 / self.num_distinct)
            if order == 1
            else self.probabilities(tokens[order - 1 :], 1),
        )


def fit_epsilon(tokens: NDArray[np.integer], num_train: int, vocab_size: int) -> SmoothedNgrams:
    """Return a model whose ε, to four digits, maximise the probability of the tokens after the training sequence.

    ε₁ is chosen first, then ε₂ and ε₃ each given ε₁, because only ε₁ enters their equations.

    Args:
        tokens: (num_tokens,) the training sequence, followed by the text to choose on.
        num_train: number of tokens of the training sequence.
        vocab_size: number of indices, and m of the equations, so that unseen tokens have a probability too.
    """
    model = SmoothedNgrams(tokens[:num_train], vocab_size, vocab_size, (0.0, 0.0, 0.0))
    for n in (1, 2, 3):
        model.epsilon[n - 1] = _best_epsilon(*model.evidence(tokens[max(num_train - n + 1, 0) :], n))
    return model


def _best_epsilon(joint: Counts, context: Counts, lower: Probabilities) -> float:
    """Return the best value of a logarithmic grid from 10⁻⁶ to 10⁶, refined around the best to four digits."""
    low, high = -6.0, 6.0
    for _ in range(4):
        grid = np.linspace(low, high, 25)
        nats = [-np.log(_smooth(joint, context, lower, 10**exponent)).sum() for exponent in grid]
        best = int(np.argmin(nats))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 24)]
    return float(f"{10 ** grid[best]:.4g}")


def _smooth(joint: Counts, context: Counts, lower: Probabilities, epsilon: float) -> Probabilities:
    """Return (n(h, x) + ε P̂(x)) / (n(h) + ε), with 0 for 0/0."""
    denominator = context + epsilon
    return np.divide(joint + epsilon * lower, denominator, out=np.zeros(len(joint)), where=denominator > 0)


def _look_up(table: tuple[Counts, Counts], keys: Counts) -> Counts:
    """Return the count of each key, 0 for keys that are not in the table."""
    known, counts = table
    return np.append(counts, 0)[find_keys(known, keys)]
