"""Configuration of mixtures and of the comparison of language models."""

from typing import Annotated, Literal

from pydantic import Field

from timemachine.base.config import Count, Distinct, Name, Section, Seed, Text

# The language model that is counted and not trained: it has no checkpoint.
CONTEXT_MIXING = "context_mixing"


class MixtureRecipe(Section):
    """A mixture of language models."""

    mean: Literal["arithmetic", "geometric"]
    models: Annotated[list[Text], Distinct] = Field(min_length=1)


class CompareModelsParams(Section):
    """Which language models are mixed, and the bootstrap of the confidence intervals of the ranking.

    Compressors and adaptive Kneser–Ney models read the last `max_tokens` tokens of the train part.
    """

    corpus: Name
    mixtures: dict[Name, MixtureRecipe]
    block_length: Count = 100
    num_samples: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    max_tokens: Annotated[int, Field(ge=2, le=1_000_000_000)] = 2_000_000
    seed: Seed = 0
