"""Configuration of the study of gradients through time."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from timemachine.base.config import Count, Distinct, Name, Positive, Section, Seed, Units


class BpttTrainingParams(Section):
    """The section `bptt.training`: a small network that is trained with each truncation."""

    num_train: Count
    batch_size: Count
    num_hiddens: Units
    num_epochs: Count
    lr: Positive
    clip_norm: Positive | None
    seeds: Annotated[list[Seed], Distinct] = Field(min_length=1)


class BpttParams(Section):
    """The section `bptt`: the study of gradients through time."""

    model: Name
    corpus: Name
    num_steps: Annotated[int, Field(ge=2, le=10_000)]
    tau: Annotated[int, Field(ge=2, le=10_000)]
    batch_size: Units
    num_warmup: Count
    num_lags: Annotated[int, Field(ge=4, le=10_000)]
    num_draws: Annotated[int, Field(ge=2, le=1_000_000)]
    radii: Annotated[list[Positive], Distinct] = Field(min_length=1, max_length=8)
    num_hiddens: Units
    seed: Seed
    training: BpttTrainingParams

    @model_validator(mode="after")
    def _segments_within_the_window(self) -> Self:
        if self.tau > self.num_steps:
            raise ValueError(f"tau: {self.tau} must not exceed num_steps, {self.num_steps}")
        return self
