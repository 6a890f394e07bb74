"""Additively smoothed uni-, bi- and trigram models and the probability of a sequence under them.

With n words, m of them distinct, and ε = (ε₁, ε₂, ε₃):

    P̂(x)        = (n(x) + ε₁/m) / (n + ε₁)
    P̂(x' | x)   = (n(x,x') + ε₂ P̂(x')) / (n(x) + ε₂)
    P̂(x'' | x,x') = (n(x,x',x'') + ε₃ P̂(x'')) / (n(x,x') + ε₃)

ε = 0 is maximum likelihood; ε₁ → ∞ gives the uniform distribution.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.hashing import Ids
from timemachine.language.ngrams.trie import Trie

Counts = NDArray[np.int64]
Probabilities = NDArray[np.float64]

ORDERS = (1, 2, 3)


class SmoothedNgrams:
    """The three estimates of the book, from the n-grams of one training sequence.

    m of the equations is the size of the vocabulary. The count of a context is the number of n-grams that begin
    with it, so that every conditional distribution sums to 1. It differs from the number of occurrences of the
    context only at the end of the text.

    Args:
        trie: the n-grams of the training sequence, at least up to trigrams.
        epsilon: ε₁, ε₂, ε₃.
    """

    def __init__(self, trie: Trie, epsilon: Sequence[float]) -> None:
        self.trie = trie
        self.epsilon = list(epsilon)

    def probabilities_by_order(self, ids: Sequence[Ids]) -> Iterator[Probabilities]:
        """Yield P̂ of each of the tokens after the first n − 1, (num_tokens − n + 1,), for n = 1, 2 and 3.

        It is 0 after an unseen context if there is no smoothing.

        Args:
            ids: return value of `trie.ids` on the tokens (num_tokens,), to order 3 at most.
        """
        for n in range(1, len(ids)):
            yield _smooth(*self.evidence(ids, n), self.epsilon[n - 1])

    def evidence(self, ids: Sequence[Ids], order: int) -> tuple[Counts, Counts, Probabilities]:
        """Return the terms of P̂ of each token after the first order − 1: counts of n-grams and contexts, lower P̂.

        The lower P̂ is that of the last token alone, or uniform for order 1.

        Args:
            ids: return value of `trie.ids` on the tokens (num_tokens,).
            order: 1 (unigram), 2 (bigram) or 3 (trigram).
        """
        counts, first = self.trie.levels[order - 1].counts, self.trie.levels[order - 1].first
        contexts = ids[order - 1][:-1]
        upto = np.concatenate([[0], np.cumsum(counts)])
        followed = np.where(contexts < 0, 0, upto[first[contexts + 1]] - upto[first[contexts]])
        lower = (
            np.full(len(contexts), 1 / self.trie.vocab_size)
            if order == 1
            else _smooth(*self.evidence(ids, 1), self.epsilon[0])[order - 1 :]
        )
        return counts[ids[order]].astype(np.int64), followed, lower


def fit_epsilon(trie: Trie, tokens: NDArray[np.integer], first: int) -> SmoothedNgrams:
    """Return a model whose ε, to four digits, maximise the probability of the tokens after the training sequence.

    ε₁ is chosen first, then ε₂ and ε₃ each given ε₁, because only ε₁ enters their equations.

    Args:
        trie: the n-grams of the training sequence, at least up to trigrams.
        tokens: (num_tokens,) the text to choose on, after at least the last two tokens of the training sequence.
        first: index of the first token to choose on.
    """
    model = SmoothedNgrams(trie, (0.0, 0.0, 0.0))
    for n in ORDERS:
        ids = trie.ids(tokens[max(first - n + 1, 0) :], n)
        # Most n-grams occur often: each is computed once, and weighted.
        keys = ids[n - 1][:-1].astype(np.int64) * trie.vocab_size + tokens[max(first, n - 1) :]
        _, places, times = np.unique(keys, return_index=True, return_counts=True)
        joint, context, lower = model.evidence(ids, n)
        model.epsilon[n - 1] = _best_epsilon(joint[places], context[places], lower[places], times)
    return model


def _best_epsilon(joint: Counts, context: Counts, lower: Probabilities, times: Counts) -> float:
    """Return the best value of a logarithmic grid from 10⁻⁶ to 10⁶, refined around the best to four digits."""
    low, high = -6.0, 6.0
    for _ in range(4):
        grid = np.linspace(low, high, 25)
        nats = [-(times * np.log(_smooth(joint, context, lower, 10**exponent))).sum() for exponent in grid]
        best = int(np.argmin(nats))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 24)]
    return float(f"{10 ** grid[best]:.4g}")


def _smooth(joint: Counts, context: Counts, lower: Probabilities, epsilon: float) -> Probabilities:
    """Return (n(h, x) + ε P̂(x)) / (n(h) + ε), with 0 for 0/0."""
    denominator = context + epsilon
    return np.divide(joint + epsilon * lower, denominator, out=np.zeros(len(joint)), where=denominator > 0)
