"""Which texts may extend the training part."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timemachine.pipeline.params import RetrainingParams
from timemachine.text.clean import clean_whole

# Words that a run has: two texts hardly share eight in a row unless one has them from the other.
_RUN_WORDS = 8
# Smallest share of a text's runs that are not repetitions; of a whole text pasted twice it is about a half.
_MIN_DISTINCT = 0.5
# Largest share of the held-out text's runs that all added texts together may hold: a quotation of some lines.
_MAX_HELD_OUT = 0.01
# The title may go on in the next lines; the licence's own `*** START: FULL LICENSE ***` is no such mark.
_MARK = re.compile(r"\*{3} ?(START|END) OF TH(?:E|IS) PROJECT GUTENBERG E(?:BOOK|TEXT)[^*]{0,500}\*{3}", re.I)
# What older editions have in place of the marks, or in front of the last one.
_SMALL_PRINT = re.compile(r"^\*END\*? ?THE SMALL PRINT!.*$", re.I | re.M)
_END_LINE = re.compile(r"^\s*End of (?:The )?Project Gutenberg(?:'s|’s)? .*\Z", re.I | re.M | re.S)
# An end line further from the end than the licence is long belongs to the text.
_LICENCE_CHARACTERS = 30_000

Runs = NDArray[np.uint64]


@dataclass(frozen=True)
class Library:
    """What a new text is held against.

    Attributes:
        book: runs of the whole book.
        held_out: runs of its validation and test part.
        accepted: runs of the texts that extend the training part already, by name.
    """

    book: Runs
    held_out: Runs
    accepted: dict[str, Runs]

    @classmethod
    def of(cls, book: str, train: float, accepted: dict[str, str]) -> "Library":
        """Return the library of a book, the fraction of it that is trained on, and the texts accepted so far."""
        words = clean_whole(book).split()
        # The corpora count their parts in characters or words, so that their cuts differ by some sentences.
        begin = int(len(words) * max(train - 0.01, 0))
        return cls(_runs(words), _runs(words[begin:]), {name: runs_of(text) for name, text in accepted.items()})

    def leak(self, name: str) -> str | None:
        """Say how much of the held-out text an accepted text holds, if that is too much."""
        return _leak(self.accepted[name], self.held_out, np.empty(0, np.uint64))


def runs_of(text: str) -> Runs:
    """Return the hashes of the distinct runs of 8 cleaned words of a text, in ascending order.

    They hold within this process only.
    """
    return _runs(clean_whole(text).split())


def without_licence(text: str) -> str:
    r"""Return a text without Project Gutenberg's header and footer, with `\n` line ends.

    Of several editions in one file all texts stay. A text without such marks stays as it is.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    marks = [(mark.start(), mark.end(), mark[1].upper()) for mark in _MARK.finditer(text)]
    kept, begin, before = [], 0, ""
    for start, end, kind in [*marks, (len(text), len(text), "")]:
        if before == "START" or (not before and kind != "START"):
            kept.append(_without_old_marks(text[begin:start]))
        begin, before = end, kind
    return "\n\n".join(piece.strip("\n") for piece in kept).strip("\n") + "\n"


def _without_old_marks(text: str) -> str:
    small_prints = list(_SMALL_PRINT.finditer(text, 0, _LICENCE_CHARACTERS))
    if small_prints:
        text = text[small_prints[-1].end() :]
    last = _END_LINE.search(text, max(len(text) - _LICENCE_CHARACTERS, 0))
    return text[: last.start()] if last else text


def refusal(text: str, name: str, library: Library, limits: RetrainingParams) -> str | None:
    """Return in one sentence why a text may not extend the training part; None if it may.

    Args:
        text: without a licence.
        name: under which it would be accepted; an older text of this name would go.
        library: the book, and the texts accepted so far.
        limits: of `params.yaml`.
    """
    cleaned = clean_whole(text).strip()
    words = cleaned.split()
    if len(cleaned) < limits.min_characters or len(words) < _RUN_WORDS:
        return (
            f"it has {len(cleaned)} characters and {len(words)} words of cleaned text; at least "
            f"{limits.min_characters} and {_RUN_WORDS} are needed"
        )
    letters, visible = (sum(map(len, found)) for found in (re.findall("[A-Za-z]+", text), text.split()))
    if letters / visible < limits.min_letter_share:
        return (
            f"{letters / visible:.1%} of what is not white space are letters A-Z; at least "
            f"{limits.min_letter_share:.1%} are needed"
        )
    runs = _runs(words)
    distinct = len(runs) / (len(words) - _RUN_WORDS + 1)
    if distinct < _MIN_DISTINCT:
        return (
            f"{distinct:.1%} of its runs of {_RUN_WORDS} words are distinct, so that most of it is repetition; at "
            f"least {_MIN_DISTINCT:.1%} are needed"
        )
    others = {other: theirs for other, theirs in library.accepted.items() if other != name}
    if leak := _leak(runs, library.held_out, _joined(list(others.values()))):
        return leak
    known = {"the book": library.book, **others}
    share = _share(runs, _joined(list(known.values())))
    if share > limits.max_overlap:
        most = max(known, key=lambda other: _share(runs, known[other]))
        return (
            f"{share:.1%} of its runs of {_RUN_WORDS} words stand already in the book or in accepted texts, most "
            f"in {most}; at most {limits.max_overlap:.1%} may"
        )
    return None


def _leak(runs: Runs, held_out: Runs, others: Runs) -> str | None:
    """Say how much of the held-out text a text would bring, if with the other texts that is too much."""
    own, together = _share(held_out, runs), _share(held_out, _joined([runs, others]))
    if own == 0 or together <= _MAX_HELD_OUT:
        return None
    more = f", with the texts accepted already {together:.1%}" if together > own else ""
    return (
        f"it holds {own:.1%} of the runs of {_RUN_WORDS} words of the book's validation and test part{more}; "
        f"at most {_MAX_HELD_OUT:.1%} may be trained on"
    )


def _share(runs: Runs, known: Runs) -> float:
    """Return which share of the runs is known."""
    return float(np.isin(runs, known, assume_unique=True).mean()) if len(runs) else 0.0


def _joined(runs: Sequence[Runs]) -> Runs:
    return _distinct(np.concatenate([np.empty(0, np.uint64), *runs]))


def _distinct(hashes: Runs) -> Runs:
    # numpy's own `unique` goes through a hash table, which takes ten times as long.
    hashes = np.sort(hashes)
    return hashes[np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]]


def _runs(words: Sequence[str]) -> Runs:
    """Hash each run of words as a polynomial of the words' own hashes, modulo 2⁶⁴."""
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    total = np.zeros(max(len(words) - _RUN_WORDS + 1, 0), np.uint64)
    for i in range(_RUN_WORDS if len(total) else 0):
        total = total * np.uint64(0x9E3779B97F4A7C15) + hashes[i : i + len(total)]
    return _distinct(total)
