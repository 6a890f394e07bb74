"""n-gram counts of a token sequence, without a Python loop over its tokens."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError

Integers = NDArray[np.int64]
Positions = NDArray[np.int32]  # half the memory to move, which is what counting waits for

# n-grams are dealt out to as many parts as a byte has values, which sort fastest.
_NUM_PARTS = 256
# Tokens: what is dealt out at a time fits the cache, and the shortest stretch fills the parts.
_BLOCK, _STRETCH = 2**18, 2**22


@dataclass(frozen=True)
class NgramCounts:
    """The distinct n-grams of a sequence by falling count, ties by first appearance.

    Attributes:
        ngrams: (num_distinct, n) token indices, of the type they were counted in.
        counts: (num_distinct,) how often each occurs.
    """

    ngrams: NDArray[np.integer]
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of n-grams counted, repeats included."""
        return int(self.counts.sum())


def pack(columns: NDArray[np.integer], vocab_size: int) -> NDArray[np.int64]:
    """Return one number per row of token indices (num_rows, n), distinct for distinct rows.

    Raises:
        UserError: `vocab_size` ** n does not fit into 63 bits.
    """
    if vocab_size ** columns.shape[1] >= 2**63:
        raise UserError(f"{columns.shape[1]}-grams over {vocab_size} tokens do not fit into 63 bits")
    keys = np.zeros(len(columns), dtype=np.int64)
    for column in columns.T:
        keys = keys * vocab_size + column
    return keys


def find(known: Integers, keys: Integers) -> Integers:
    """Return where each key (…) stands in sorted ones (num_known,), −1 where it is not among them."""
    if not len(known):
        return np.full_like(keys, -1)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, places, -1)


def count_ngrams(tokens: NDArray[np.integer], n: int, vocab_size: int) -> NgramCounts:
    """Count the n-grams of a sequence of token indices of shape (num_tokens,).

    They are dealt out to parts by a hash, so that the table in which a part is counted fits the processor's
    cache. The text is read in stretches as long as there are distinct n-grams so far, times two: memory grows
    with those, save for one byte per token at the end, and none is counted anew more than a few times.

    Raises:
        UserError: `vocab_size` ** n does not fit into 63 bits, or there are 2³¹ tokens or more.
    """
    if len(tokens) >= 2**31:
        raise UserError(f"{len(tokens)} tokens are too many to count; 2³¹ − 1 are allowed")
    num_ngrams = max(len(tokens) - n + 1, 0)
    parts = [_Part() for _ in range(_NUM_PARTS)]
    begin = 0
    # Sorting and hashing leave the interpreter to other threads.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while begin < num_ngrams:
            end = min(begin + max(_STRETCH, 2 * sum(len(part.keys) for part in parts)), num_ngrams)
            blocks = [
                (start, tokens[start : min(start + _BLOCK, end) + n - 1]) for start in range(begin, end, _BLOCK)
            ]
            dealt = pool.map(lambda block: _deal(block[0], block[1], n, vocab_size), blocks)
            arrived = zip(*dealt, strict=True)  # by part, and in it by block
            list(pool.map(lambda part, pieces: part.count(pieces), parts, arrived))
            begin = end
    first, counts = _by_count(parts, num_ngrams)
    # Column by column: rows of a few numbers each are slow to gather.
    return NgramCounts(np.array([tokens[i:][first] for i in range(n)]).T, counts)


def _deal(start: int, tokens: NDArray[np.integer], n: int, vocab_size: int) -> list[tuple[Integers, Positions]]:
    """Return for each part the packed n-grams of a block that belong there, and where they begin in the text.

    Args:
        start: where the block begins in the text.
        tokens: the block's, and n − 1 behind it.
        n: tokens of an n-gram.
        vocab_size: number of indices.
    """
    keys = pack(np.lib.stride_tricks.sliding_window_view(tokens, n), vocab_size)
    # Fibonacci hashing: the top byte of a product modulo 2⁶⁴ depends on all of the key.
    part_of = (keys.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(56)).astype(np.uint8)
    order = np.argsort(part_of, kind="stable")
    cuts = np.cumsum(np.bincount(part_of, minlength=_NUM_PARTS)).tolist()
    keys, positions = keys[order], (order + start).astype(np.int32)
    return [(keys[i:j], positions[i:j]) for i, j in pairwise([0, *cuts])]


class _Part:
    """Some of the distinct n-grams, by first appearance.

    Attributes:
        keys: (num_distinct,) the packed n-grams.
        counts: (num_distinct,) how often each occurred so far.
        first: (num_distinct,) where each began first.
    """

    def __init__(self) -> None:
        self.keys = self.counts = np.empty(0, dtype=np.int64)
        self.first = np.empty(0, dtype=np.int32)

    def count(self, arrived: Sequence[tuple[Integers, Positions]]) -> None:
        """Add pieces of n-grams (num_arrived,) that begin at rising positions (num_arrived,)."""
        import pandas as pd  # half a second; what only packs need not pay for it

        keys, positions = (np.concatenate(column) for column in zip(*arrived, strict=True))
        num_known = len(self.keys)
        # Known ones come first and so keep their places.
        codes, self.keys = pd.factorize(np.concatenate([self.keys, keys]))
        codes = codes[num_known:]
        counts = np.bincount(codes, minlength=len(self.keys))
        counts[:num_known] += self.counts
        first = np.empty(len(self.keys), dtype=np.int32)
        first[codes[::-1]] = positions[::-1]  # written last, the first position stays
        first[:num_known] = self.first
        self.counts, self.first = counts, first


def _by_count(parts: Sequence[_Part], num_ngrams: int) -> tuple[Integers, Integers]:
    """Return first positions and counts, (num_distinct,) each, by falling count, ties by first position."""
    bits = num_ngrams.bit_length()
    # Most occur once: a mask over the text has these in order. The others are sorted, both keys in one number.
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
