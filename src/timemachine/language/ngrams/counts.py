"""n-gram counts of a token sequence, without a Python loop over its tokens."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError

Integers = NDArray[np.int64]
Positions = NDArray[np.int32]  # half the size of int64: counting is limited by memory bandwidth

# The number of values of a byte, because bytes sort fastest.
_NUM_PARTS = 256
# Positions have 32 bits.
MOST_TOKENS = 2**31 - 1
# Tokens: a block fits the cache, and the shortest stretch fills the parts.
_BLOCK, _STRETCH = 2**18, 2**22


def pack(columns: NDArray[np.integer], vocab_size: int) -> NDArray[np.int64]:
    """Return an integer key for each row of token indices (num_rows, n); distinct rows have distinct keys.

    Raises:
        UserError: `vocab_size` ** n does not fit into 63 bits.
    """
    if vocab_size ** columns.shape[1] >= 2**63:
        n = columns.shape[1]
        raise UserError(
            f"{n}-grams over a vocabulary of {vocab_size} tokens do not fit into 63 bits; raise min_freq"
        )
    keys = np.zeros(len(columns), dtype=np.int64)
    for column in columns.T:
        keys = keys * vocab_size + column
    return keys


def find_keys(known: Integers, keys: Integers) -> Integers:
    """Return the position of each key (…) in the sorted `known` (num_known,), −1 for a key that is absent."""
    if not len(known):
        return np.full_like(keys, -1)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, places, -1)


def check_length(num_tokens: int) -> None:
    """Check the length of a text whose n-grams are to be counted.

    Raises:
        UserError: there are 2³¹ tokens or more.
    """
    if num_tokens > MOST_TOKENS:
        raise UserError(f"{num_tokens} tokens are too many to count; at most 2³¹ − 1 are allowed")


def count_ngrams(tokens: NDArray[np.integer], n: int, vocab_size: int) -> tuple[NDArray[np.integer], Integers]:
    """Count the n-grams of a sequence of token indices of shape (num_tokens,).

    The n-grams are distributed over parts by a hash, so that the hash table of a part fits the processor's cache.
    The text is read in stretches of twice the number of distinct n-grams found so far. Memory therefore grows with
    the distinct n-grams, plus one byte per token at the end, and each is hashed again only a few times.

    Returns:
        The distinct n-grams (num_distinct, n), of the type of the sequence, in descending order of their count,
        ties by first occurrence; and their counts (num_distinct,).

    Raises:
        UserError: `vocab_size` ** n does not fit into 63 bits, or there are 2³¹ tokens or more.
    """
    check_length(len(tokens))
    num_ngrams = max(len(tokens) - n + 1, 0)
    parts = [_Part() for _ in range(_NUM_PARTS)]
    begin = 0
    # Sorting and hashing release the global interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while begin < num_ngrams:
            end = min(begin + max(_STRETCH, 2 * sum(len(part.keys) for part in parts)), num_ngrams)
            starts = range(begin, end, _BLOCK)
            blocks = [tokens[start : min(start + _BLOCK, end) + n - 1] for start in starts]
            dealt = pool.map(lambda start, block: _distribute(start, block, n, vocab_size), starts, blocks)
            arrived = zip(*dealt, strict=True)  # by part, then by block
            list(pool.map(_Part.count, parts, arrived))
            begin = end
    first, counts = _by_count(parts, num_ngrams)
    # Column by column, because gathering short rows is slow.
    return np.array([tokens[i:][first] for i in range(n)]).T, counts


def _distribute(
    start: int, tokens: NDArray[np.integer], n: int, vocab_size: int
) -> list[tuple[Integers, Positions]]:
    """Return the keys of the n-grams of a block and the positions where they begin in the text, for each part.

    The block begins at position `start` of the text; `tokens` also has the n − 1 tokens after it.
    """
    keys = pack(np.lib.stride_tricks.sliding_window_view(tokens, n), vocab_size)
    # Fibonacci hashing: the top byte of a product modulo 2⁶⁴ depends on all of the key.
    part_of = (keys.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(56)).astype(np.uint8)
    order = np.argsort(part_of, kind="stable")
    cuts = np.cumsum(np.bincount(part_of, minlength=_NUM_PARTS)).tolist()
    keys, positions = keys[order], (order + start).astype(np.int32)
    return [(keys[i:j], positions[i:j]) for i, j in pairwise([0, *cuts])]


class _Part:
    """The distinct n-grams of one part, in the order of their first occurrence.

    Attributes:
        keys: (num_distinct,) keys of the n-grams.
        counts: (num_distinct,) number of occurrences so far.
        first: (num_distinct,) position of the first occurrence.
    """

    def __init__(self) -> None:
        self.keys = self.counts = np.empty(0, dtype=np.int64)
        self.first = np.empty(0, dtype=np.int32)

    def count(self, arrived: Sequence[tuple[Integers, Positions]]) -> None:
        """Count n-grams, given as pairs of keys and ascending positions, (num_arrived,) each."""
        import pandas as pd  # takes half a second, and users of `check_length` and `find_keys` do not need it

        keys, positions = (np.concatenate(column) for column in zip(*arrived, strict=True))
        num_known = len(self.keys)
        # Known keys come first, so that they keep their codes.
        codes, self.keys = pd.factorize(np.concatenate([self.keys, keys]))
        codes = codes[num_known:]
        counts = np.bincount(codes, minlength=len(self.keys))
        counts[:num_known] += self.counts
        first = np.empty(len(self.keys), dtype=np.int32)
        first[codes[::-1]] = positions[::-1]  # the first position is written last
        first[:num_known] = self.first
        self.counts, self.first = counts, first


def _by_count(parts: Sequence[_Part], num_ngrams: int) -> tuple[Integers, Integers]:
    """Return first positions and counts, (num_distinct,) each, by descending count, ties by first position."""
    bits = num_ngrams.bit_length()
    # Most n-grams occur once: a mask over the text puts these in order. The others are sorted by one integer each,
    # made of the count and the position.
    once = np.zeros(num_ngrams, dtype=bool)
    packed = [np.empty(0, dtype=np.int64)]
    for part in parts:
        repeated = part.counts > 1
        once[part.first[~repeated]] = True
        packed.append(part.first[repeated] - (part.counts[repeated] << bits))
    more = np.sort(np.concatenate(packed))
    first = np.concatenate([more & ((1 << bits) - 1), np.flatnonzero(once)])
    counts = np.ones(len(first), dtype=np.int64)
    counts[: len(more)] = -(more >> bits)
    return first, counts
