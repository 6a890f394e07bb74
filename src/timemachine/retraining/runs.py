"""Runs of 8 words of a text as sorted 64-bit hashes, and the texts that have them.

The hash of a word is a polynomial of its letters, and that of a run a polynomial of its words, both modulo 2⁶⁴. So
the hashes are the same in every process, and numpy computes those of a block of text at once.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Words in a run. Two texts rarely share eight words in a row unless one quotes the other.
RUN_WORDS = 8

Hashes = NDArray[np.uint64]

_BLOCK_BYTES = 1 << 18
_BASE = 0x9E3779B97F4A7C15
_FIRST_BITS = 24
_SPACE = ord(" ")
_LETTERS = bytes(ord(chr(i).lower()) if chr(i).isascii() and chr(i).isalpha() else _SPACE for i in range(256))


def hash_words(text: memoryview) -> Hashes:
    """Return the hash of each word of a text: of each run of letters A-Z, in lower case.

    Args:
        text: (num_bytes,) UTF-8.

    Returns:
        (num_words,) the hashes.
    """
    return np.concatenate([np.empty(0, np.uint64), *map(_hash_block, _blocks(text))])


def _blocks(text: memoryview) -> Iterator[bytes]:
    """Yield the cleaned text in blocks that end between two words."""
    begin, size = 0, _BLOCK_BYTES
    while begin < len(text):
        block = bytes(text[begin : begin + size]).translate(_LETTERS)
        if begin + size < len(text):
            end = block.rfind(b" ") + 1
            if not end:  # the word is longer than the block
                size *= 2
                continue
            block = block[:end]
        yield block
        begin, size = begin + len(block), _BLOCK_BYTES


def _hash_block(cleaned: bytes) -> Hashes:
    letters = np.frombuffer(cleaned, np.uint8)
    edges = np.flatnonzero(np.diff(letters != _SPACE, prepend=False, append=False))
    begins, ends = edges[::2], edges[1::2]  # (num_words,)
    powers, inverses = _powers(1 << len(letters).bit_length())
    sums = np.zeros(len(letters) + 1, np.uint64)
    np.cumsum(letters * powers[: len(letters)], out=sums[1:])
    # The letters before the word cancel, and the inverse makes the hash independent of where the word stands.
    hashes: Hashes = (sums[ends] - sums[begins]) * inverses[begins]
    # The low bits of a polynomial modulo 2⁶⁴ are weak.
    hashes ^= hashes >> np.uint64(32)
    hashes *= np.uint64(_BASE)
    hashes ^= hashes >> np.uint64(29)
    return hashes


@lru_cache(2)
def _powers(num: int) -> tuple[Hashes, Hashes]:
    """Return the first powers of the base, and their inverses, modulo 2⁶⁴."""
    both = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        factors = np.full(num, base, np.uint64)
        factors[0] = 1
        both.append(np.cumprod(factors))
    return both[0], both[1]


def runs_of(words: Hashes) -> Hashes:
    """Return the hashes of the distinct runs of 8 words, in ascending order.

    Args:
        words: (num_words,) the hashes of the words, in the order of the text.
    """
    num_runs = max(len(words) - RUN_WORDS + 1, 0)
    runs = np.zeros(num_runs, np.uint64)
    for i in range(RUN_WORDS if num_runs else 0):
        runs *= np.uint64(_BASE)
        runs += words[i : i + num_runs]
    return distinct(runs)


def distinct(*hashes: Hashes) -> Hashes:
    """Return the distinct hashes of arrays, in ascending order."""
    joined = np.concatenate(hashes)
    joined.sort()  # ten times as fast as `np.unique`, which uses a hash table
    return joined[np.append(True, joined[1:] != joined[:-1])[: len(joined)]]


def places(hashes: Hashes, known: Hashes) -> NDArray[np.intp]:
    """Return the index of each hash in `known`, which is sorted, or -1 if it is not there."""
    found = np.searchsorted(known, hashes)
    is_known = found < len(known)
    is_known[is_known] = known[found[is_known]] == hashes[is_known]
    return np.where(is_known, found, -1)


class Texts:
    """The sorted union of the runs of texts, with the text that has each.

    It is kept in a few sorted arrays of very different lengths, as a log-structured merge tree is, so that a text
    is added without sorting all runs again.

    Args:
        names: of the texts.
        runs: (num_runs,) sorted; a run that several texts have is there several times.
        numbers: (num_runs,) the text that has the run, as an index into `names`.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        runs: Hashes | None = None,
        numbers: NDArray[np.uint32] | None = None,
    ) -> None:
        self._names = list(names)
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._levels = [] if runs is None or numbers is None else [(runs, numbers)]
        # By the first bits of a run. Nearly all runs of a new text are new, and this costs less than a search.
        self._may_be_known = np.zeros(1 << _FIRST_BITS, bool)
        for level, _ in self._levels:
            self._may_be_known[_first_bits(level)] = True

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._numbers))

    def add(self, name: str, runs: Hashes) -> None:
        """Add a text; it replaces an earlier one of the same name.

        Args:
            name: of the text.
            runs: (num_runs,) its distinct runs, sorted.
        """
        self._numbers[name] = len(self._names)
        self._names.append(name)
        self._may_be_known[_first_bits(runs)] = True
        level = (runs, np.full(len(runs), self._numbers[name], np.uint32))
        while self._levels and len(self._levels[-1][0]) < 2 * len(level[0]):
            level = _merged([self._levels.pop(), level])
        self._levels.append(level)

    def remove(self, name: str) -> None:
        """Remove a text."""
        del self._numbers[name]  # its runs remain, and are left out of what is found

    def find(self, hashes: Hashes) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """Return which of the runs are in texts, and in which: an entry for each run and text.

        Args:
            hashes: (num_runs,) distinct runs, sorted.

        Returns:
            Indices into `hashes`, and numbers of texts; see `name`.
        """
        maybe = np.flatnonzero(self._may_be_known[_first_bits(hashes)])
        hashes = hashes[maybe]
        indices, numbers = [np.empty(0, np.intp)], [np.empty(0, np.uint32)]
        for runs, owners in self._levels:
            begins = places(hashes, runs)
            there = np.flatnonzero(begins >= 0)
            at = begins[there]
            while len(there):
                indices.append(there)
                numbers.append(owners[at])
                at = at + 1
                more = (at < len(runs)) & (runs[np.minimum(at, len(runs) - 1)] == hashes[there])
                there, at = there[more], at[more]
        where, which = np.concatenate(indices), np.concatenate(numbers)
        current = np.zeros(len(self._names) + 1, bool)
        current[list(self._numbers.values())] = True
        return maybe[where[current[which]]], which[current[which]]

    def name(self, number: int) -> str:
        """Return the name of a text."""
        return self._names[number]

    def number(self, name: str) -> int:
        """Return the number of a text, or -1 if there is none of this name."""
        return self._numbers.get(name, -1)

    def union(self) -> tuple[list[str], Hashes, NDArray[np.uint32]]:
        """Return names, runs and numbers of the present texts, as the constructor takes them."""
        empty = (np.empty(0, np.uint64), np.empty(0, np.uint32))
        runs, numbers = _merged([empty, *self._levels])
        names = list(self)
        renumbered = np.full(len(self._names) + 1, len(names), np.uint32)
        renumbered[[self._numbers[name] for name in names]] = np.arange(len(names), dtype=np.uint32)
        present = renumbered[numbers] < len(names)
        return names, runs[present], renumbered[numbers[present]]


def _first_bits(hashes: Hashes) -> Hashes:
    return hashes >> np.uint64(64 - _FIRST_BITS)


def _merged(levels: list[tuple[Hashes, NDArray[np.uint32]]]) -> tuple[Hashes, NDArray[np.uint32]]:
    runs, numbers = (np.concatenate(arrays) for arrays in zip(*levels, strict=True))
    order = np.argsort(runs, kind="stable")
    return runs[order], numbers[order]
