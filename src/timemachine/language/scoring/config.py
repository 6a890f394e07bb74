"""Configuration of the scoring of language models."""

from typing import Annotated

from pydantic import Field

from timemachine.base.config import Count, Distinct, Name, Positive, Section
from timemachine.language.generation.config import Prefix


class EvaluatePerplexityParams(Section):
    """How the recurrent language models are scored, and the prefixes that each continues.

    Of the tokens that a model was trained on, the last `max_train` are scored.
    """

    num_warmup: Annotated[int, Field(ge=1, le=10_000_000)]
    num_streams: Annotated[int, Field(ge=1, le=10_000)] = 8
    max_train: Count = 1_000_000
    prefixes: list[Prefix]


class DynamicEvaluationParams(Section):
    """Which recurrent models are also scored by dynamic evaluation, and its knobs."""

    models: Annotated[list[Name], Distinct]
    num_steps: Count
    num_rms: Count
    lr: Positive
