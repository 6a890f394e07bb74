"""Interpolated modified Kneser–Ney models of every order up to a highest one.

Source: S. F. Chen and J. Goodman, An Empirical Study of Smoothing Techniques for Language Modeling, 1998.
With h for the context and h' for it without its first token, the model of order n is, from k = n down to 1,

    P(x | h) = max(c(hx) − D(c(hx)), 0) / c(h·) + γ(h) P(x | h'),    γ(h) = Σ_i D_i N_i(h·) / c(h·)

where c(hx) is the count of the n-gram for k = n, and below that its number of distinct left neighbours; N_i
counts the tokens that follow h with c = i, and D has one value each for c = 1, 2 and 3 or more. The model below
k = 1 is the uniform distribution over the vocabulary.
"""

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.counts import find_keys

Ids = NDArray[np.int64]
Probabilities = NDArray[np.float64]

# The values that KenLM uses if the counts of counts give no estimate.
_FALLBACK = (0.5, 1.0, 1.5)


class _Level:
    """The parameters of one order, which interpolates with the order below.

    Args:
        counts: (num_ngrams,) counts of the n-grams.
        contexts: (num_ngrams,) ids of their contexts.
        num_contexts: number of contexts.

    Attributes:
        discounts: D for a count of 1, 2, and 3 or more.
        value: (num_ngrams + 1,) discounted relative frequency of each n-gram; the last is 0, for unseen n-grams.
        gamma: (num_contexts + 1,) weight of the order below after each context; the last is 1, for unseen ones.
    """

    def __init__(self, counts: NDArray[np.integer], contexts: Ids, num_contexts: int) -> None:
        self.discounts = _discounts(counts)
        discount = np.array(self.discounts)[np.minimum(counts, 3) - 1]
        total, freed = (np.bincount(contexts, weights, num_contexts) for weights in (counts, discount))
        gamma = np.divide(freed, total, out=np.ones(num_contexts), where=total > 0)
        self.value = np.append((counts - discount) / total[contexts], 0)
        self.gamma = np.append(gamma, 1)


class KneserNey:
    """Models of all orders from 1 to `max_order`, fitted on one training sequence.

    The id of a k-gram is its position among the sorted keys id(first k − 1 tokens) × vocab_size + last token, so
    that keys of any order fit into 64 bits. The id of an unseen k-gram is −1.

    Args:
        tokens: (num_tokens,) training sequence of indices below `vocab_size`.
        vocab_size: number of indices.
        max_order: highest order, at least 1.
    """

    def __init__(self, tokens: NDArray[np.integer], vocab_size: int, max_order: int) -> None:
        self.vocab_size = vocab_size
        self.max_order = max_order
        self._keys: list[Ids] = []
        self._counted: list[_Level] = []
        self._continued: list[_Level] = []
        ids = np.zeros(len(tokens) + 1, dtype=np.int64)  # the empty k-gram occurs at every position
        num_contexts = 1
        for k in range(1, max_order + 1):
            shorter = ids  # (num_tokens − k + 2,) by position
            keys, ids, counts = np.unique(
                shorter[:-1] * vocab_size + tokens[k - 1 :], return_inverse=True, return_counts=True
            )
            if k > 1:
                suffix = np.empty(len(keys), dtype=np.int64)
                suffix[ids] = shorter[1:]
                num_left = np.bincount(suffix, minlength=len(self._keys[-1]))
                num_left[shorter[:1]] += 1  # the beginning of the text counts as a neighbour
                self._continued.append(_Level(num_left, self._keys[-1] // vocab_size, num_contexts))
                num_contexts = len(self._keys[-1])
            self._keys.append(keys)
            self._counted.append(_Level(counts, keys // vocab_size, num_contexts))

    def probabilities(self, tokens: NDArray[np.integer], order: int) -> Probabilities:
        """Return P of each of the tokens (…, length) after the first order − 1, (…, length − order + 1).

        Raises:
            ValueError: the order is not within 1 to `max_order`. The methods below raise it too.
        """
        levels, ids = self._levels(order), self._ids(tokens, order)
        P = np.asarray(1 / self.vocab_size)
        for k, level in enumerate(levels, 1):
            begin = order - k
            P = level.value[ids[k][..., begin:]] + level.gamma[ids[k - 1][..., begin:-1]] * P
        return P

    def distributions(self, contexts: NDArray[np.integer]) -> Probabilities:
        """Return P of every token of the vocabulary after each context, (num_rows, vocab_size).

        Args:
            contexts: (num_rows, order − 1) token indices.
        """
        order = contexts.shape[1] + 1
        levels = self._levels(order)
        ids = [n[:, -1:] for n in self._ids(contexts, order - 1)]  # (num_rows, 1) by length
        P = np.full((len(contexts), self.vocab_size), 1 / self.vocab_size)
        for level, known, context in zip(levels, self._keys, ids, strict=False):
            P *= level.gamma[context]
            P += level.value[find_keys(known, context * self.vocab_size + np.arange(self.vocab_size))]
        return P

    def discounts(self, order: int) -> list[tuple[float, float, float]]:
        """Return D for counts of 1, 2, and 3 or more, at each level of the model of an order, lowest first."""
        return [level.discounts for level in self._levels(order)]

    def _levels(self, order: int) -> list[_Level]:
        if not 1 <= order <= self.max_order:
            raise ValueError(f"order {order} is not within 1 to {self.max_order}")
        return [*self._continued[: order - 1], self._counted[order - 1]]

    def _ids(self, tokens: NDArray[np.integer], max_length: int) -> list[Ids]:
        """Return the ids of the k-grams in tokens (…, length) by position, for k = 0 … max_length."""
        ids = [np.zeros((*tokens.shape[:-1], tokens.shape[-1] + 1), dtype=np.int64)]
        for k, known in enumerate(self._keys[:max_length], 1):
            ids.append(find_keys(known, ids[-1][..., :-1] * self.vocab_size + tokens[..., k - 1 :]))
        return ids  # (…, length − k + 1)


def _discounts(counts: NDArray[np.integer]) -> tuple[float, float, float]:
    """Return D₁, D₂, D₃₊, estimated from the numbers of n-grams that occur once, twice, three and four times.

    If one of these numbers is 0, or an estimate is not positive, all three have their fallback values: there are
    too few n-grams for an estimate, and without discounts unseen tokens would have probability 0.
    """
    n = np.bincount(counts, minlength=5)[1:5]
    if not n.all():
        return _FALLBACK
    d = [i - (i + 1) * n[0] / (n[0] + 2 * n[1]) * n[i] / n[i - 1] for i in (1, 2, 3)]
    return (float(d[0]), float(d[1]), float(d[2])) if min(d) > 0 else _FALLBACK
