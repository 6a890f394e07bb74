"""Predictions and scores of a language model on a text: nats, bits per character, perplexity."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.text.corpus import HELD_OUT, Corpus, Part
from timemachine.text.perplexity import perplexity


@dataclass(frozen=True)
class Reading:
    """The predictions of a model on a stretch of text.

    Attributes:
        nats: (num_tokens,) −log P of each token given all before it.
        log_P: (num_tokens, vocab) log P of every token of the vocabulary at each place; None if not requested.
    """

    nats: NDArray[np.float64]
    log_P: NDArray[np.floating] | None = None

    def checked(self) -> "Reading":
        """Return this reading.

        Raises:
            UserError: a value is not finite, because the training of the model diverged.
        """
        if not all(np.isfinite(values).all() for values in (self.nats, self.log_P) if values is not None):
            raise UserError("the model diverged: a log P is not finite; lower lr")
        return self


def split_reading(reading: Reading, corpus: Corpus) -> dict[Part, Reading]:
    """Split a reading of the validation and the test part in one sequence into the two parts."""
    cut = corpus.split["val"][1] - corpus.split["val"][0]
    log_P = (None, None) if reading.log_P is None else (reading.log_P[:cut], reading.log_P[cut:])
    return {"val": Reading(reading.nats[:cut], log_P[0]), "test": Reading(reading.nats[cut:], log_P[1])}


def held_out_arrays(readings: Mapping[Part, Reading]) -> dict[str, NDArray[Any]]:
    """Return the arrays to store for the held-out parts: nats as `<part>`, log P, if any, as `<part>.log_P`."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in HELD_OUT:
        arrays[part] = readings[part].nats
        if (log_P := readings[part].log_P) is not None:
            arrays[f"{part}.log_P"] = log_P
    return arrays


@dataclass(frozen=True)
class Score:
    """Summed nats and the tokens that they belong to; each rate divides once, at the end.

    Attributes:
        total_nats: sum of −log P over the tokens.
        tokens: number of scored tokens.
        characters: number of characters of cleaned text that the tokens stand for.
    """

    total_nats: float
    tokens: int
    characters: float

    @classmethod
    def of(cls, nats: NDArray[np.float64], corpus: Corpus, end: int) -> "Score":
        """Return the score of the last tokens before `end`, from the nats of each (num_tokens,)."""
        return cls(float(nats.sum()), len(nats), corpus.num_characters(corpus.tokens[end - len(nats) : end]))

    @property
    def nats(self) -> float:
        """Mean nats per token."""
        return self.total_nats / self.tokens

    @property
    def bits_per_character(self) -> float:
        """Mean bits per character of cleaned text."""
        return self.total_nats / self.characters / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(mean nats per token), at most 1e100."""
        return perplexity(self.nats)

    def report(self) -> dict[str, float | int | None]:
        """Return the score for a JSON report; infinity, which JSON does not have, becomes null."""
        finite = self.total_nats != math.inf
        return {
            "nats": self.nats if finite else None,
            "bits_per_character": self.bits_per_character if finite else None,
            "perplexity": self.perplexity if finite else None,
            "tokens": self.tokens,
        }
