"""What a language model scores: nats, bits per character, perplexity."""

import math
from dataclasses import dataclass

from timemachine.language.training.history import perplexity


@dataclass(frozen=True)
class Score:
    """Summed nats over counted tokens; every rate divides once, at the end.

    Attributes:
        total_nats: sum of −log P over the tokens.
        tokens: tokens scored.
        characters: characters of cleaned text that they stand for.
    """

    total_nats: float
    tokens: int
    characters: float

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.total_nats + other.total_nats, self.tokens + other.tokens, self.characters + other.characters
        )

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
        """Return the score as reports hold it; ∞, which JSON has not, is null."""
        possible = self.total_nats != math.inf
        return {
            "nats": self.nats if possible else None,
            "bits_per_character": self.bits_per_character if possible else None,
            "perplexity": self.perplexity if possible else None,
            "tokens": self.tokens,
        }
