"""The distinct k-grams of a training sequence, for every k up to a highest order, and their counts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import entry
from timemachine.language.ngrams.counts import check_length
from timemachine.language.ngrams.hashing import Ids, Keys, KeyTable

# Tokens whose keys fit the cache.
_BLOCK = 2**16


class Level(NamedTuple):
    """The distinct k-grams of one k, in lexicographic order. The id of a k-gram is its position among them.

    Attributes:
        first: (num_contexts + 1,) id of the first k-gram after each context, which is a (k − 1)-gram.
        last: (num_kgrams,) last token.
        counts: (num_kgrams + 1,) number of occurrences; the last is 0, for unseen k-grams.
        suffix: (num_kgrams,) id of the k-gram without its first token, which is a (k − 1)-gram.
        ends: ids of the first and of the last k-gram of the sequence; empty if it has none.
    """

    first: Ids
    last: Ids
    counts: Ids
    suffix: Ids
    ends: Ids

    def contexts(self) -> Ids:
        """Return the id of the context of each k-gram, (num_kgrams,)."""
        return np.repeat(np.arange(len(self.first) - 1, dtype=np.int32), np.diff(self.first))


class Trie:
    """The k-grams of a sequence for k = 1 … `max_order`. The empty k-gram, of k = 0, has the id 0.

    Attributes:
        vocab_size: number of indices.
        levels: by k, beginning with 1.
    """

    def __init__(self, vocab_size: int, levels: list[Level]) -> None:
        self.vocab_size = vocab_size
        self.levels = levels

    @property
    def max_order(self) -> int:
        """The largest k."""
        return len(self.levels)

    @classmethod
    def count(cls, tokens: NDArray[np.integer], vocab_size: int, max_order: int) -> "Trie":
        """Count the k-grams of a sequence of token indices (num_tokens,).

        The keys id(first k − 1 tokens) × vocab_size + last token fit into 63 bits for any k. They are numbered by
        hashing, and only the distinct ones are sorted.

        Raises:
            UserError: there are 2³¹ tokens or more.
        """
        check_length(len(tokens))
        ids = np.zeros(len(tokens) + 1, dtype=np.int32)  # by position; the empty k-gram is at every one
        levels: list[Level] = []
        num_contexts = 1
        for k in range(1, max_order + 1):
            level = _count(ids, tokens[k - 1 :], vocab_size, num_contexts)
            levels.append(level)
            num_contexts = len(level.last)
        return cls(vocab_size, levels)

    def reversed(self) -> "Trie":
        """Return the k-grams of the reversed sequence, without counting them again."""
        levels: list[Level] = []
        new_ids, first_tokens = np.zeros(1, dtype=np.int32), np.empty(0, dtype=np.int32)
        for k, level in enumerate(self.levels, 1):
            contexts = level.contexts()
            # A k-gram that is read backward ends with its first token, after all tokens but the first.
            first_tokens = first_tokens[contexts] if k > 1 else level.last
            first = _cumulated(np.bincount(new_ids[level.suffix], minlength=len(new_ids)))
            suffix, new_ids = new_ids[contexts], _dealt(new_ids[level.suffix], first)
            levels.append(
                Level(
                    first=first,
                    last=_moved(first_tokens, new_ids),
                    counts=np.append(_moved(level.counts[:-1], new_ids), np.int32(0)),
                    suffix=_moved(suffix, new_ids),
                    ends=new_ids[level.ends[::-1]],
                )
            )
        return Trie(self.vocab_size, levels)

    def ids(self, tokens: NDArray[np.integer], max_order: int) -> list[Ids]:
        """Return the ids of the k-grams of tokens (…, length) by position, for k = 0 … `max_order`.

        The one for k has the shape (…, length − k + 1), and −1 for unseen k-grams.

        Raises:
            ValueError: the order is not within 1 to that of the trie.
        """
        if not 1 <= max_order <= self.max_order:
            raise ValueError(f"order {max_order} is not within 1 to {self.max_order}")
        last = tokens.astype(np.int32)
        ids = [np.zeros((*last.shape[:-1], last.shape[-1] + 1), dtype=np.int32)]
        for k, level in enumerate(self.levels[:max_order], 1):
            contexts = ids[-1][..., :-1]
            found = np.empty(contexts.size, dtype=np.int32)
            _find(level.first, level.last, contexts.ravel(), last[..., k - 1 :].ravel(), found)
            ids.append(found.reshape(contexts.shape))
        return ids


def _count(ids: Ids, tokens: NDArray[np.integer], vocab_size: int, num_contexts: int) -> Level:
    """Return the k-grams of one k, and replace the ids of (k − 1)-grams by those of k-grams.

    Args:
        ids: (at least num_kgrams + 1,) by position.
        tokens: (num_kgrams,) last token of the k-gram at each position.
        vocab_size: number of indices.
        num_contexts: number of ids.
    """
    blocks = [slice(begin, min(begin + _BLOCK, len(tokens))) for begin in range(0, len(tokens), _BLOCK)]

    def keys_of(block: slice) -> Keys:
        keys = ids[block].astype(np.int64)
        keys *= vocab_size
        keys += tokens[block]
        return keys

    table = KeyTable(num_contexts * vocab_size)
    for block in blocks:
        table.add(keys_of(block))
    keys, counts = table.number()
    contexts = keys // vocab_size
    first = _cumulated(np.bincount(contexts, minlength=num_contexts))
    contexts *= vocab_size
    keys -= contexts
    last = keys.astype(np.int32)
    del keys, contexts
    suffix = np.empty(len(last), dtype=np.int32)
    for block in blocks:
        found = table.find(keys_of(block))
        suffix[found] = ids[block.start + 1 : block.stop + 1]
        ids[block] = found
    ends = ids[[0, len(tokens) - 1]] if len(tokens) else ids[:0].copy()
    return Level(first, last, np.append(counts, np.int32(0)), suffix, ends)


def _cumulated(numbers: NDArray[np.integer]) -> Ids:
    """Return the sum of the numbers (n,) before each place and of all, (n + 1,)."""
    sums = np.zeros(len(numbers) + 1, dtype=np.int32)
    np.cumsum(numbers, out=sums[1:])
    return sums


def _dealt(contexts: Ids, first: Ids) -> Ids:
    """Return new ids of the k-grams: those of a context follow each other, in their present order.

    They are in lexicographic order, because the present order is that of their first tokens.

    Args:
        contexts: (num_kgrams,) new context of each k-gram.
        first: (num_contexts + 1,) number of k-grams before each context.
    """
    ids = np.empty(len(contexts), dtype=np.int32)
    _deal(contexts, first[:-1].copy(), ids)
    return ids


def _moved(values: Ids, ids: Ids) -> Ids:
    """Return the values (num_kgrams,) in the order of new ids."""
    moved = np.empty_like(values)
    moved[ids] = values
    return moved


@entry
def _deal(contexts: Ids, following: Ids, ids: Ids) -> None:
    for i in range(len(contexts)):
        ids[i] = following[contexts[i]]
        following[contexts[i]] += 1


@entry
def _find(first: Ids, last: Ids, contexts: Ids, tokens: Ids, ids: Ids) -> None:
    """Write the id of each token after its context, −1 if it was not seen there, by binary search."""
    for i in range(len(contexts)):
        ids[i] = -1
        if contexts[i] >= 0:
            low, end = first[contexts[i]], first[contexts[i] + 1]
            high = end
            while low < high:
                middle = (low + high) >> 1
                if last[middle] < tokens[i]:
                    low = middle + 1
                else:
                    high = middle
            if low < end and last[low] == tokens[i]:
                ids[i] = low
