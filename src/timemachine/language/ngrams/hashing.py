"""Numbers for the distinct keys of a long sequence, by a hash table in compiled code."""

import math

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import compiled, entry

Keys = NDArray[np.int64]
Ids = NDArray[np.int32]

# Of 16 bytes each. A table of this size is not hashed if the keys themselves can be its positions.
_MOST_DIRECT = 2**22
_LEAST_BITS, _MOST_FILLED = 16, 0.6
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: the top bits of the product depend on all of the key


def bytes_of_table(num_keys: float, num_distinct: float) -> float:
    """Return the size of a `KeyTable` in the end, for a number of possible keys and one of distinct keys."""
    if num_keys <= _MOST_DIRECT:
        return 16 * num_keys
    return 16.0 * max(2**_LEAST_BITS, 2 ** math.ceil(math.log2(num_distinct / _MOST_FILLED)))


class KeyTable:
    """Counts of keys first, then their positions among the sorted distinct keys.

    It has linear probing, and grows with the number of distinct keys.

    Args:
        num_keys: keys are integers from 0 to `num_keys` − 1.
    """

    def __init__(self, num_keys: int) -> None:
        self.num_distinct = 0
        direct = num_keys <= _MOST_DIRECT
        self._allocate(max(num_keys - 1, 1).bit_length() if direct else _LEAST_BITS, direct)

    def _allocate(self, num_bits: int, direct: bool) -> None:
        self._num_bits, self._direct = num_bits, direct
        self._rows = np.empty((2**num_bits, 2), dtype=np.int64)
        self._rows[:, 0], self._rows[:, 1] = -1, 0
        self._hash = (np.uint64(1), np.uint64(0)) if direct else (_GOLDEN, np.uint64(64 - num_bits))

    def add(self, keys: Keys) -> None:
        """Count keys (num_keys,)."""
        while not self._direct and self.num_distinct + len(keys) > _MOST_FILLED * len(self._rows):
            filled = self._rows[self._rows[:, 0] >= 0]
            del self._rows
            self._allocate(self._num_bits + 1, direct=False)
            _add(self._rows, *self._hash, filled[:, 0], filled[:, 1])
        ones = np.broadcast_to(np.int64(1), len(keys))
        self.num_distinct += _add(self._rows, *self._hash, keys, ones)

    def number(self) -> tuple[Keys, Ids]:
        """Return the distinct keys in ascending order and their counts, (num_distinct,); end counting."""
        keys = self._rows[:, 0][self._rows[:, 0] >= 0]
        keys.sort()
        counts = np.empty(len(keys), dtype=np.int32)
        _number(self._rows, *self._hash, keys, counts)
        return keys, counts

    def find(self, keys: Keys) -> Ids:
        """Return the positions of counted keys (num_keys,) among the sorted distinct ones."""
        ids = np.empty(len(keys), dtype=np.int32)
        _find(self._rows, *self._hash, keys, ids)
        return ids


@compiled
def _row_of(rows: Keys, multiplier: np.uint64, shift: np.uint64, key: np.int64) -> int:
    """Return the row of a key, or the free one where it belongs."""
    row = int(np.int64((np.uint64(key) * multiplier) >> shift))
    while rows[row, 0] != key and rows[row, 0] != -1:
        row = (row + 1) & (len(rows) - 1)
    return row


@entry
def _add(rows: Keys, multiplier: np.uint64, shift: np.uint64, keys: Keys, weights: Keys) -> int:
    """Add to the counts of keys, and return the number of new ones."""
    num_new = 0
    for i in range(len(keys)):
        row = _row_of(rows, multiplier, shift, keys[i])
        num_new += rows[row, 0] == -1
        rows[row, 0] = keys[i]
        rows[row, 1] += weights[i]
    return num_new


@entry
def _number(rows: Keys, multiplier: np.uint64, shift: np.uint64, keys: Keys, counts: Ids) -> None:
    """Replace the count of each of the distinct keys by its position."""
    for i in range(len(keys)):
        row = _row_of(rows, multiplier, shift, keys[i])
        counts[i] = rows[row, 1]
        rows[row, 1] = i


@entry
def _find(rows: Keys, multiplier: np.uint64, shift: np.uint64, keys: Keys, ids: Ids) -> None:
    for i in range(len(keys)):
        ids[i] = rows[_row_of(rows, multiplier, shift, keys[i]), 1]
