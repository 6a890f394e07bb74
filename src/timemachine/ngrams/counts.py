"""n-gram counts of a token sequence, without a Python loop over its tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NgramCounts:
    """The distinct n-grams of a sequence by falling count, ties by first appearance.

    Attributes:
        ngrams: (num_distinct, n) token indices.
        counts: (num_distinct,) how often each occurs.
    """

    ngrams: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of n-grams counted, repeats included."""
        return int(self.counts.sum())


def pack(columns: NDArray[np.integer], vocab_size: int) -> NDArray[np.int64]:
    """Return one number per row of token indices (num_rows, n), distinct for distinct rows.

    Raises:
        ValueError: `vocab_size` ** n does not fit into 63 bits.
    """
    if vocab_size ** columns.shape[1] >= 2**63:
        raise ValueError(f"{columns.shape[1]}-grams over {vocab_size} tokens do not fit into 63 bits")
    keys = np.zeros(len(columns), dtype=np.int64)
    for column in columns.T:
        keys = keys * vocab_size + column
    return keys


def count_ngrams(tokens: NDArray[np.integer], n: int, vocab_size: int) -> NgramCounts:
    """Count the n-grams of a sequence of token indices of shape (num_tokens,)."""
    if len(tokens) < n:
        return NgramCounts(np.empty((0, n), dtype=np.int64), np.empty(0, dtype=np.int64))
    rows = np.lib.stride_tricks.sliding_window_view(tokens, n)  # (num_tokens - n + 1, n)
    _, first, counts = np.unique(pack(rows, vocab_size), return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return NgramCounts(rows[first[order]].astype(np.int64), counts[order])
