"""Configuration of generated text."""

from typing import Annotated

from pydantic import Field

from timemachine.base.config import Count, Positive, Section, Seed, Text


class Prefix(Section):
    """A beginning to be continued: greedily, or with an α by draws from P^α, made narrower if wanted."""

    prefix: Text
    num_preds: Annotated[int, Field(ge=1, le=100_000)] = 50
    alpha: Positive | None = None
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed = 0
