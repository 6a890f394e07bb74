"""Partial counts: a long text is cut into spans, the n-grams of each are counted alone, and kept on disk.

The number of a distinct n-gram and the positions where it first occurs depend on which tokens of a span are equal,
and not on their indices. Partial counts are therefore kept by a hash of the span with its tokens numbered in the
order in which they occur: a further shard, which changes the vocabulary, leaves those of the other shards valid.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays, write_arrays
from timemachine.language.ngrams.counts import pack

Integers = NDArray[np.int64]

# Tokens: of the longest span, and of the shortest piece that is not joined with the next ones.
SPAN, SHORT = 2**22, 2**18


class Span(NamedTuple):
    """The n-grams that begin at `begin` … `end` − 1 and end before `stop`, in tokens of a text."""

    begin: int
    end: int
    stop: int


class Partial(NamedTuple):
    """Counts of the distinct n-grams of a part of a text, (num_distinct,) each.

    Attributes:
        keys: as `pack` returns them for the whole vocabulary.
        counts: number of occurrences in this part.
        first: position of the first of them in the text.
    """

    keys: Integers
    counts: Integers
    first: Integers


class TokenFile(NamedTuple):
    """The tokens of a corpus in a file, read in parts, so that no more than a part is in memory."""

    path: str
    dtype: str
    offset: int
    num_tokens: int

    @classmethod
    def of(cls, tokens: NDArray[np.unsignedinteger], folder: Path) -> "TokenFile":
        """Return the file that an array maps, or write the array to a new file in a folder."""
        mapped = tokens if isinstance(tokens, np.memmap) else tokens.base
        if isinstance(mapped, np.memmap) and mapped.filename is not None and mapped.nbytes == tokens.nbytes:
            path = Path(mapped.filename).absolute()
            if mapped.offset + mapped.nbytes == path.stat().st_size:  # a slice has the offset of the whole
                return cls(str(path), tokens.dtype.str, mapped.offset, len(tokens))
        path = folder / "tokens"
        tokens.tofile(path)
        return cls(str(path.absolute()), tokens.dtype.str, 0, len(tokens))

    def read(self, begin: int, end: int) -> NDArray[np.unsignedinteger]:
        """Return the tokens begin … end − 1."""
        dtype = np.dtype(self.dtype)
        try:
            tokens = np.fromfile(
                self.path, dtype, max(end - begin, 0), offset=self.offset + begin * dtype.itemsize
            )
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file on this machine") from None
        if len(tokens) < end - begin:
            raise UserError(f"{self.path}: changed while it was read; run `dvc repro` again")
        return tokens


def cut(pieces: Sequence[int], num_tokens: int, length: int = SPAN, short: int = SHORT) -> list[Span]:
    """Cut a text into spans, each from the beginning of a piece or of several short ones.

    Args:
        pieces: (num_pieces,) first index of each piece, ascending.
        num_tokens: number of tokens of the text.
        length: tokens of the longest span.
        short: tokens; consecutive pieces with fewer are joined until they have as many.
    """
    edges = np.unique([0, *pieces, num_tokens]).tolist()
    starts = list[int]()
    for begin, end in pairwise(edges):
        # A long piece has its own spans, so that they do not depend on the short ones before it.
        if not starts or begin - starts[-1] >= short or end - begin >= short:
            starts.append(begin)
    return [
        Span(begin, min(begin + length, stop), stop)
        for start, stop in pairwise([*starts, num_tokens])
        for begin in range(start, stop, length)
    ]


def count_span(tokens: TokenFile, span: Span, n: int, vocab_size: int, kept: Path) -> Partial:
    """Return the partial counts of a span, from the folder `kept` if it has them, else also written into it.

    Raises:
        UserError: `vocab_size` ** n does not fit into 63 bits, or the file of the tokens changes.
    """
    import pandas as pd  # takes half a second

    text = tokens.read(span.begin, min(span.end + n - 1, span.stop))
    codes = pd.factorize(text)[0].astype(np.uint32)
    num_ngrams = max(len(codes) - n + 1, 0)
    path = kept / f"{n}-{hashlib.sha256(codes.tobytes()).hexdigest()}.safetensors"
    try:
        found = read_arrays(path)
        first, counts = found["first"], found["counts"]
        if len(first) != len(counts) or counts.sum() != num_ngrams or (first >= num_ngrams).any():
            raise UserError(f"{path}: damaged")
        path.touch()  # the time says when it was last needed
    except (UserError, KeyError):  # not counted yet, or damaged
        keys = pack(_windows(codes, n), int(codes.max(initial=0)) + 1)
        which = pd.factorize(keys)[0]
        counts = np.bincount(which).astype(np.uint32)
        first = np.empty(len(counts), dtype=np.uint32)
        first[which[::-1]] = np.arange(len(which), dtype=np.uint32)[::-1]  # the first position is written last
        write_arrays(path, {"first": first, "counts": counts})
    keys = pack(np.stack([text[i:][first] for i in range(n)], axis=1), vocab_size)
    return Partial(keys, counts.astype(np.int64), first.astype(np.int64) + span.begin)


def count_between(tokens: TokenFile, spans: Sequence[Span], n: int, vocab_size: int) -> Partial:
    """Return the counts of the n-grams that begin before a border of `Span.stop` and end after it."""
    borders = np.unique([span.stop for span in spans])[:-1]
    before = np.unique((borders[:, None] - np.arange(1, n)).ravel())
    starts = before[(before >= 0) & (before + n <= tokens.num_tokens)]
    rows = np.array([tokens.read(start, start + n) for start in starts.tolist()], dtype=np.int64).reshape(-1, n)
    keys, first, counts = np.unique(pack(rows, vocab_size), return_index=True, return_counts=True)
    return Partial(keys, counts, starts[first])


def _windows(tokens: NDArray[np.integer], n: int) -> NDArray[np.integer]:
    """Return the n-grams (num_ngrams, n) of a sequence, which may be shorter than n."""
    return np.lib.stride_tricks.sliding_window_view(tokens, n) if len(tokens) >= n else tokens[:0].reshape(0, n)
