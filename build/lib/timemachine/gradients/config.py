"""Configuration of the study of gradients through time."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from timemachine.base.config import Count, Distinct, Name, Positive, Section, Seed, Units


class BpttTrainingParams(Section):
    """The section `bptt.training`: a small network that is trained with each truncation."""

    num_train: Count = 1000
    batch_size: Count = 4
    num_hiddens: Units = 64
    num_epochs: Count = 80
    lr: Positive = 1.0
    clip_norm: Positive | None = 1.0
    seeds: Annotated[list[Seed], Distinct] = Field(default=[0, 1, 2], min_length=1)


class BpttParams(Section):
    """The section `bptt`: the study of gradients through time."""

    model: Name
    corpus: Name
    num_steps: Annotated[int, Field(ge=2, le=10_000)]
    tau: Annotated[int, Field(ge=2, le=10_000)]
    batch_size: Units = 4
    num_warmup: Count = 100
    num_lags: Annotated[int, Field(ge=4, le=10_000)] = 64
    num_draws: Annotated[int, Field(ge=2, le=1_000_000)] = 500
    radii: Annotated[list[Positive], Distinct] = Field(default=[0.9, 1.0, 1.1], min_length=1, max_length=8)
    num_hiddens: Units = 64
    seed: Seed = 0
    training: BpttTrainingParams

    @model_validator(mode="after")
    def _segments_within_the_window(self) -> Self:
        if self.tau > self.num_steps:
            raise ValueError(f"tau: {self.tau} must not exceed num_steps, {self.num_steps}")
        return self
