"""Interpolated modified Kneser–Ney models of every order up to a highest one.

Source: S. F. Chen and J. Goodman, An Empirical Study of Smoothing Techniques for Language Modeling, 1998.
With h for the context and h' for it without its first token, the model of order n is, from k = n down to 1,

    P(x | h) = max(c(hx) − D(c(hx)), 0) / c(h·) + γ(h) P(x | h'),    γ(h) = Σ_i D_i N_i(h·) / c(h·)

where c(hx) is the count of the n-gram for k = n, and below that its number of distinct left neighbours; N_i
counts the tokens that follow h with c = i, and D has one value each for c = 1, 2 and 3 or more. The model below
k = 1 is the uniform distribution over the vocabulary.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import entry
from timemachine.language.ngrams.hashing import Ids
from timemachine.language.ngrams.trie import Trie

Probabilities = NDArray[np.float64]

# The values that KenLM uses if the counts of counts give no estimate.
_FALLBACK = (0.5, 1.0, 1.5)
# Contexts of which `distributions` keeps the ids at a time.
_BLOCK = 2**16


class _Estimate(NamedTuple):
    """The parameters of one order, which interpolates with the order below.

    Attributes:
        counts: (num_ngrams + 1,) counts of the n-grams; the last is 0, for unseen n-grams.
        discounts: (4,) D for a count of 0, 1, 2, and 3 or more.
        total: (num_contexts + 1,) sum of the counts after each context; 1 where there are none, and for unseen
            contexts, which are the last.
        gamma: (num_contexts + 1,) weight of the order below after each context; 1 where `total` has no counts.
    """

    counts: Ids
    discounts: Probabilities
    total: Ids
    gamma: Probabilities

    @classmethod
    def of(cls, counts: Ids, first: Ids) -> "_Estimate":
        """Return the parameters for counts (num_ngrams + 1,) of the n-grams from `first` on after each context."""
        discounts = np.array((0.0, *_discounts(counts)))
        total, gamma = np.ones(len(first), dtype=np.int32), np.ones(len(first))
        _weigh(counts, first, discounts, total, gamma)
        return cls(counts, discounts, total, gamma)

    def interpolated(self, ids: Ids, contexts: Ids, lower: Probabilities) -> Probabilities:
        """Return P of n-grams, from P under the order below; all arrays have one shape."""
        counts = self.counts[ids]
        value = (counts - self.discounts[np.minimum(counts, 3)]) / self.total[contexts]
        P: Probabilities = value + self.gamma[contexts] * lower
        return P


class KneserNey:
    """Models of all orders from 1 to `max_order`, fitted on one training sequence.

    Args:
        tokens: (num_tokens,) training sequence of indices below `vocab_size`.
        vocab_size: number of indices.
        max_order: highest order, at least 1.

    Attributes:
        trie: the n-grams of the training sequence.

    Raises:
        UserError: there are 2³¹ tokens or more.
    """

    def __init__(self, tokens: NDArray[np.integer], vocab_size: int, max_order: int) -> None:
        self._estimate(Trie.count(tokens, vocab_size, max_order))

    @classmethod
    def of(cls, trie: Trie) -> "KneserNey":
        """Return the models of n-grams that are counted already."""
        model = cls.__new__(cls)
        model._estimate(trie)
        return model

    def _estimate(self, trie: Trie) -> None:
        self.trie = trie
        self._counted = [_Estimate.of(level.counts, level.first) for level in trie.levels]
        self._continued = []
        for level, longer in pairwise(trie.levels):
            num_left = np.zeros(len(level.last) + 1, dtype=np.int32)
            _count_each(longer.suffix, num_left)
            num_left[level.ends[:1]] += 1  # the beginning of the text counts as a neighbour
            self._continued.append(_Estimate.of(num_left, level.first))

    def probabilities_by_order(self, ids: Sequence[Ids]) -> Iterator[Probabilities]:
        """Yield P of each token after the first n − 1, (…, length − n + 1), for the orders n = 1, 2, …

        Args:
            ids: return value of `trie.ids` on the tokens (…, length).
        """
        lower = np.full(ids[1].shape, 1 / self.trie.vocab_size)
        for n in range(1, len(ids)):
            level = ids[n], ids[n - 1][..., :-1]
            yield self._counted[n - 1].interpolated(*level, lower)
            if n < len(ids) - 1:
                lower = self._continued[n - 1].interpolated(*level, lower)[..., 1:]

    def distributions(self, contexts: NDArray[np.integer]) -> Probabilities:
        """Return P of every token of the vocabulary after each context, (num_rows, vocab_size).

        Beside them, the memory that this takes does not grow with the number of rows.

        Args:
            contexts: (num_rows, order − 1) token indices.

        Raises:
            ValueError: the order is not within 1 to `max_order`.
        """
        num_rows, length = contexts.shape
        P = np.full((num_rows, self.trie.vocab_size), 1 / self.trie.vocab_size)
        estimates = self._estimates(length + 1)
        for begin in range(0, num_rows, _BLOCK):
            block = slice(begin, begin + _BLOCK)
            ids = (
                self.trie.ids(contexts[block], length)
                if length
                else [np.zeros((len(P[block]), 1), dtype=np.int32)]
            )
            for estimate, level, context in zip(estimates, self.trie.levels, ids, strict=False):
                _interpolate(P[block], context[:, -1].copy(), level.first, level.last, *estimate)
        return P

    def discounts(self, order: int) -> list[tuple[float, float, float]]:
        """Return D for counts of 1, 2, and 3 or more, at each level of the model of an order, lowest first.

        Raises:
            ValueError: the order is not within 1 to `max_order`.
        """
        return [(float(d[1]), float(d[2]), float(d[3])) for _, d, _, _ in self._estimates(order)]

    def _estimates(self, order: int) -> list[_Estimate]:
        if not 1 <= order <= self.trie.max_order:
            raise ValueError(f"order {order} is not within 1 to {self.trie.max_order}")
        return [*self._continued[: order - 1], self._counted[order - 1]]


def _discounts(counts: Ids) -> tuple[float, float, float]:
    """Return D₁, D₂, D₃₊, estimated from the numbers of n-grams that occur once, twice, three and four times.

    If one of these numbers is 0, or an estimate is not positive, all three have their fallback values: there are
    too few n-grams for an estimate, and without discounts unseen tokens would have probability 0.
    """
    n = [int(np.count_nonzero(counts == i)) for i in (1, 2, 3, 4)]
    if not all(n):
        return _FALLBACK
    d = [i - (i + 1) * n[0] / (n[0] + 2 * n[1]) * n[i] / n[i - 1] for i in (1, 2, 3)]
    return (d[0], d[1], d[2]) if min(d) > 0 else _FALLBACK


@entry
def _count_each(ids: Ids, counts: Ids) -> None:
    for i in range(len(ids)):
        counts[ids[i]] += 1


@entry
def _weigh(counts: Ids, first: Ids, discounts: Probabilities, total: Ids, gamma: Probabilities) -> None:
    """Write c(h·) and γ(h) of each context that has counts."""
    for h in range(len(first) - 1):
        seen, freed = 0, 0.0
        for i in range(first[h], first[h + 1]):
            seen += counts[i]
            freed += discounts[min(counts[i], 3)]
        if seen > 0:
            total[h], gamma[h] = seen, freed / seen


@entry
def _interpolate(
    P: Probabilities,
    contexts: Ids,
    first: Ids,
    last: Ids,
    counts: Ids,
    discounts: Probabilities,
    total: Ids,
    gamma: Probabilities,
) -> None:
    """Replace P (num_rows, vocab_size) under the order below by P under this one."""
    for row in range(len(contexts)):
        h = contexts[row]
        if h >= 0:  # after an unseen context nothing changes
            for x in range(P.shape[1]):
                P[row, x] *= gamma[h]
            for i in range(first[h], first[h + 1]):
                P[row, last[i]] += (counts[i] - discounts[min(counts[i], 3)]) / total[h]
