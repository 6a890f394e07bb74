"""Scores of a language model on a text: nats, bits per character, perplexity."""

import math
from dataclasses import dataclass

from timemachine.text.perplexity import perplexity


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
