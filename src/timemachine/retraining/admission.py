"""The checks that a new text must pass to extend the training part."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from timemachine.pipeline.params import RetrainingParams
from timemachine.retraining.runs import RUN_WORDS, Hashes, Texts, distinct, hash_words, places, runs_of
from timemachine.text.preparation.config import Split

# Smallest share of distinct runs; it is about one half for a text that was pasted twice.
_MIN_DISTINCT = 0.5
# Largest share of the held-out text's runs in all added texts together: a quotation of a few lines.
_MAX_HELD_OUT = 0.01
# Corpora split by characters or by words, so their splits differ by a few sentences.
_SLACK = 0.01
_NONE = np.empty(0, np.intp)
_UPPER_AND_LOWER = bytes([*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)])
# Bytes that begin no character in UTF-8, and ASCII white space.
_INVISIBLE = bytes([*range(0x80, 0xC0), *b"\t\n\v\f\r\x1c\x1d\x1e\x1f "])
_WIDE_SPACE = re.compile(rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80")


class Library:
    """The runs of the book, of its validation and test part, and of the accepted texts.

    Args:
        book: (num_runs,) distinct runs of all texts that corpora name.
        held_out: (num_runs,) distinct runs of the validation and test parts of all corpora.
        accepted: the runs of the accepted texts.
    """

    def __init__(self, book: Hashes, held_out: Hashes, accepted: Texts) -> None:
        self.book, self.held_out, self.accepted = book, held_out, accepted
        # Indices into `held_out`, by text, and in how many texts each run is.
        self._held: dict[str, NDArray[np.intp]] = {}
        self._num_texts = np.zeros(len(held_out), np.int32)
        where, which = accepted.find(held_out)
        for number in np.unique(which):
            self._hold(accepted.name(number), where[which == number])

    def add(self, name: str, runs: Hashes) -> None:
        """Add an accepted text; it replaces an earlier one of the same name."""
        self.accepted.add(name, runs)
        self._hold(name, self._held_out_places(runs))

    def _hold(self, name: str, where: NDArray[np.intp]) -> None:
        if name in self._held:
            self._num_texts[self._held.pop(name)] -= 1
        if len(where):
            self._held[name] = where
            self._num_texts[where] += 1

    def leak(self, runs: Hashes, name: str) -> str | None:
        """Return a sentence if a text, with the accepted ones, has too much of the held-out text, else None.

        Args:
            runs: (num_runs,) distinct runs of the text, sorted.
            name: of the text; an accepted text of this name does not count.
        """
        return self._sentence(self._held_out_places(runs), name)

    def _held_out_places(self, runs: Hashes) -> NDArray[np.intp]:
        found = places(runs, self.held_out)
        return found[found >= 0]

    def leaks(self) -> dict[str, str]:
        """Return a sentence for each accepted text that has, by itself, too much of the held-out text."""
        found = {name: self._sentence(where, None) for name, where in sorted(self._held.items())}
        return {name: sentence for name, sentence in found.items() if sentence}

    def _sentence(self, where: NDArray[np.intp], name: str | None) -> str | None:
        """Return the sentence for these held-out runs, with those of the accepted texts unless `name` is None."""
        if not len(where):
            return None
        own = together = len(where) / len(self.held_out)
        if name is not None:
            num_texts = self._num_texts.copy()
            num_texts[self._held.get(name, _NONE)] -= 1
            num_texts[where] += 1
            together = np.count_nonzero(num_texts) / len(self.held_out)
        if together <= _MAX_HELD_OUT:
            return None
        more = f", {together:.1%} with the accepted texts" if together > own else ""
        return (
            f"it has {own:.1%} of the runs of {RUN_WORDS} words of the book's validation and test part{more}; "
            f"at most {_MAX_HELD_OUT:.1%} is allowed in training"
        )

    def overlap(self, runs: Hashes, name: str) -> tuple[float, str]:
        """Return the share of runs that are in the book or in accepted texts, and which has most of them.

        Args:
            runs: (num_runs,) distinct runs of a text, sorted.
            name: of the text; an accepted text of this name does not count.
        """
        known = places(runs, self.book) >= 0
        most, num_most = "the book", int(known.sum())
        where, which = self.accepted.find(runs)
        others = which != self.accepted.number(name)  # all, if there is none of this name
        known[where[others]] = True
        nums = np.bincount(which[others]).tolist()
        for other, num in sorted((self.accepted.name(i), num) for i, num in enumerate(nums) if num):
            if num > num_most:  # of equal ones the first by name
                most, num_most = other, num
        return float(known.mean()), most


def book_runs(corpora: Iterable[Sequence[Hashes]], split: Split) -> tuple[Hashes, Hashes]:
    """Return the distinct runs of the texts of corpora, and of their validation and test parts.

    Args:
        corpora: for each corpus, the hashes of the words of its pieces.
        split: how the corpora are split.
    """
    whole, held_out = [], []
    for pieces in corpora:
        words = np.concatenate(pieces)
        # A cap in words is a cap in characters, too.
        num_held_out = sum(min(part * len(words), split.max_held_out) for part in (split.val, split.test))
        begin = max(int(len(words) * (1 - _SLACK) - num_held_out), 0)
        whole.append(runs_of(words))
        held_out.append(runs_of(words[begin:]))
    return distinct(*whole), distinct(*held_out)


@dataclass(frozen=True)
class Candidate:
    """A text that may extend the training part, without a licence.

    Args:
        text: UTF-8.
    """

    text: bytes

    @cached_property
    def num_words(self) -> int:
        """The number of words."""
        return len(self._words)

    @cached_property
    def num_letters(self) -> int:
        """The number of letters A-Z."""
        return len(self.text) - len(self.text.translate(None, _UPPER_AND_LOWER))

    @cached_property
    def num_visible(self) -> int:
        """The number of characters without white space."""
        num_wide = 0 if self.text.isascii() else sum(1 for _ in _WIDE_SPACE.finditer(self.text))
        return len(self.text.translate(None, _INVISIBLE)) - num_wide

    @cached_property
    def _words(self) -> Hashes:
        return hash_words(memoryview(self.text))

    @cached_property
    def runs(self) -> Hashes:
        """The distinct runs of words, sorted."""
        return runs_of(self._words)


def refusal(candidate: Candidate, name: str, library: Library, limits: RetrainingParams) -> str | None:
    """Return the reason in one sentence if a text may not extend the training part, else None.

    Args:
        candidate: the text.
        name: name of the text; it replaces an accepted text with the same name.
        library: runs of the book and of the accepted texts.
        limits: limits in `params.yaml`.
    """
    num_words = candidate.num_words
    num_characters = candidate.num_letters + max(num_words - 1, 0)  # a space between two words
    if num_characters < limits.min_characters or num_words < RUN_WORDS:
        return (
            f"it has {num_characters} characters and {num_words} words of cleaned text; at least "
            f"{limits.min_characters} and {RUN_WORDS} are needed"
        )
    letter_share = candidate.num_letters / candidate.num_visible
    if letter_share < limits.min_letter_share:
        return (
            f"{letter_share:.1%} of its characters without white space are letters A-Z; at least "
            f"{limits.min_letter_share:.1%} are needed"
        )
    distinct_share = len(candidate.runs) / (num_words - RUN_WORDS + 1)
    if distinct_share < _MIN_DISTINCT:
        return (
            f"{distinct_share:.1%} of its runs of {RUN_WORDS} words are distinct, so most of it is repetition; at "
            f"least {_MIN_DISTINCT:.1%} are needed"
        )
    if leak := library.leak(candidate.runs, name):
        return leak
    share, most = library.overlap(candidate.runs, name)
    if share > limits.max_overlap:
        return (
            f"{share:.1%} of its runs of {RUN_WORDS} words are already in the book or in accepted texts, most "
            f"in {most}; at most {limits.max_overlap:.1%} are allowed"
        )
    return None
