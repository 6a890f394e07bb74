"""Configuration of n-gram statistics and n-gram language models."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from timemachine.base.config import Count, Distinct, Name, NonNegative, Positive, Section, Seed, Text


class NgramsParams(Section):
    """n-gram statistics of a word corpus and a Markov chain over a character corpus.

    `engine` counts: `memory` in memory, `duckdb` with at most `max_memory` GB, `ray` on a cluster with
    `num_partitions` parts of its shuffle; `auto` is `memory` where that fits `max_memory`, else `duckdb`. All give
    the same counts.
    """

    corpus: Name
    engine: Literal["auto", "memory", "duckdb", "ray"] = "auto"
    max_memory: Positive = 2.0
    num_partitions: Annotated[int, Field(ge=1, le=10_000)] = 16
    num_top: Count = 10
    zipf_ranks: list[Count] = Field(default=[10, 1000], min_length=2, max_length=2)
    epsilon: list[NonNegative] = Field(default=[1.0, 1.0, 1.0], min_length=3, max_length=3)
    sequences: list[Text]
    markov_corpus: Name
    markov_steps: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        default=[1, 2, 4, 8], min_length=1, max_length=8
    )

    @field_validator("zipf_ranks")
    @classmethod
    def _rising(cls, ranks: list[int]) -> list[int]:
        if ranks[0] >= ranks[1]:
            raise ValueError(f"{ranks}: the first rank must be below the last")
        return ranks


class NgramModelsParams(Section):
    """Corpora with the highest order of their n-gram models, and the bootstrap of the confidence intervals.

    Models that need more than `max_memory` GB are refused before they are counted.
    """

    corpora: dict[Name, Annotated[int, Field(ge=1, le=100)]] = Field(min_length=1)
    max_memory: Positive = 8.0
    block_length: Count = 100
    num_samples: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    seed: Seed = 0


class Windows(Section):
    """Numbers of the last tokens that the caches of a context mixture count, by their contexts."""

    word: Count = 3000
    letters: Count = 8000


class ContextMixingParams(Section):
    """The context mixture of the corpus `compare_models.corpus`."""

    lr: Annotated[float, Field(gt=0, le=1)] = 0.015
    num_passes: Annotated[int, Field(ge=1, le=2)] = 2
    windows: Windows = Windows()
    max_tokens: Annotated[int, Field(ge=2, le=1_000_000_000)] = 2_000_000


# Recurrent models, or the same with `_dynamic`, by the name of the context mixture that they join: the mean of
# their log P is its further expert.
Networks = dict[Name, Annotated[list[Text], Distinct, Field(min_length=1)]]
