"""The checks that a new text must pass to extend the training part."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.pipeline.params import RetrainingParams
from timemachine.text.clean import clean_whole

# Words in a run. Two texts rarely share eight words in a row unless one quotes the other.
_RUN_WORDS = 8
# Smallest share of distinct runs; it is about one half for a text that was pasted twice.
_MIN_DISTINCT = 0.5
# Largest share of the held-out text's runs in all added texts together: a quotation of a few lines.
_MAX_HELD_OUT = 0.01
# The title may span several lines. `*** START: FULL LICENSE ***` does not match.
_MARK = re.compile(r"\*{3} ?(START|END) OF TH(?:E|IS) PROJECT GUTENBERG E(?:BOOK|TEXT)[^*]{0,500}\*{3}", re.I)
# Marks of older editions.
_SMALL_PRINT = re.compile(r"^\*END\*? ?THE SMALL PRINT!.*$", re.I | re.M)
_END_LINE = re.compile(r"^\s*End of (?:The )?Project Gutenberg(?:'s|’s)? .*\Z", re.I | re.M | re.S)
# An end line further from the end than this, the length of the licence, belongs to the text.
_LICENCE_CHARACTERS = 30_000

Runs = NDArray[np.uint64]


class Library:
    """The runs of the book, of its validation and test part, and of the accepted texts by name.

    Args:
        book: the text of the book.
        train: fraction of the training part.
        accepted: accepted texts by name.
    """

    def __init__(self, book: str, train: float, accepted: Mapping[str, str]) -> None:
        words = clean_whole(book).split()
        # Corpora split by characters or by words, so their splits differ by a few sentences.
        begin = int(len(words) * max(train - 0.01, 0))
        self.book, self.held_out = _runs(words), _runs(words[begin:])
        self.accepted = {name: runs_of(text) for name, text in accepted.items()}

    def leak(self, runs: Runs, *others: Runs) -> str | None:
        """Return a sentence if a text, with the others, contains too much of the held-out text, else None."""
        own, together = _share(self.held_out, runs), _share(self.held_out, _distinct(runs, *others))
        if own == 0 or together <= _MAX_HELD_OUT:
            return None
        more = f", {together:.1%} with the accepted texts" if together > own else ""
        return (
            f"it has {own:.1%} of the runs of {_RUN_WORDS} words of the book's validation and test part{more}; "
            f"at most {_MAX_HELD_OUT:.1%} is allowed in training"
        )


def runs_of(text: str) -> Runs:
    """Return the hashes of the distinct runs of 8 cleaned words of a text, in ascending order.

    The hashes are valid in this process only.
    """
    return _runs(clean_whole(text).split())


def without_licence(text: str) -> str:
    r"""Return a text without Project Gutenberg's header and footer, with `\n` line ends.

    If a file has several editions, all of their texts are kept. A text without marks is not changed.
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
    """Return the reason in one sentence if a text may not extend the training part, else None.

    Args:
        text: the text without a licence.
        name: name of the text; it replaces an accepted text with the same name.
        library: runs of the book and of the accepted texts.
        limits: limits in `params.yaml`.
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
            f"{letters / visible:.1%} of its characters without white space are letters A-Z; at least "
            f"{limits.min_letter_share:.1%} are needed"
        )
    runs = _runs(words)
    distinct = len(runs) / (len(words) - _RUN_WORDS + 1)
    if distinct < _MIN_DISTINCT:
        return (
            f"{distinct:.1%} of its runs of {_RUN_WORDS} words are distinct, so most of it is repetition; at "
            f"least {_MIN_DISTINCT:.1%} are needed"
        )
    others = {other: theirs for other, theirs in library.accepted.items() if other != name}
    if leak := library.leak(runs, *others.values()):
        return leak
    known = {"the book": library.book, **others}
    share = _share(runs, _distinct(*known.values()))
    if share > limits.max_overlap:
        most = max(known, key=lambda other: _share(runs, known[other]))
        return (
            f"{share:.1%} of its runs of {_RUN_WORDS} words are already in the book or in accepted texts, most "
            f"in {most}; at most {limits.max_overlap:.1%} are allowed"
        )
    return None


def _share(runs: Runs, known: Runs) -> float:
    """Return the share of runs that are known."""
    return float(np.isin(runs, known, assume_unique=True).mean()) if len(runs) else 0.0


def _distinct(*hashes: Runs) -> Runs:
    # Ten times as fast as `np.unique`, which uses a hash table.
    joined = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    return joined[np.append(True, joined[1:] != joined[:-1])[: len(joined)]]


def _runs(words: Sequence[str]) -> Runs:
    """Return the hash of each run: a polynomial of the hashes of its words, modulo 2⁶⁴."""
    hashes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    total = np.zeros(max(len(words) - _RUN_WORDS + 1, 0), np.uint64)
    for i in range(_RUN_WORDS if len(total) else 0):
        total = total * np.uint64(0x9E3779B97F4A7C15) + hashes[i : i + len(total)]
    return _distinct(total)
