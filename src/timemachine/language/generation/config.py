"""Configuration of generated text."""

from typing import Annotated

from pydantic import Field

from timemachine.base.config import Count, Positive, Section, Seed, Text


class Prefix(Section):
    """A prefix to continue: greedily, or with `alpha` by draws from P^α, optionally cut by `top_k` and `top_p`."""

    prefix: Text
    num_preds: Annotated[int, Field(ge=1, le=100_000)] = 50
    alpha: Positive | None = None
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed = 0
