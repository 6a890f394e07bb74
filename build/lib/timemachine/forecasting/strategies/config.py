"""Configuration of backtests: forecasting strategies and the rolling origins that compare them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from timemachine.base.config import Count, Distinct, Name, Positive, Section

StrategyName = Literal["recursive", "direct", "multi_output", "direct_recursive"]


class BacktestParams(Section):
    """How forecasting strategies are compared by rolling origins."""

    num_observed: Count
    num_validation: Count
    horizon: Annotated[int, Field(ge=3, le=10_000)]
    num_folds: Annotated[int, Field(ge=1, le=10_000)] = 3
    num_seeds: Annotated[int, Field(ge=1, le=10_000)]
    max_harmonics: Annotated[int, Field(ge=1, le=20)] = 3
    trained: dict[Name, Annotated[list[StrategyName], Distinct]]

    @model_validator(mode="after")
    def _room_for_origins(self) -> Self:
        if not self.horizon <= self.num_validation < self.num_observed:
            raise ValueError(
                f"num_validation: {self.num_validation} must be at least horizon = {self.horizon} and below "
                f"num_observed = {self.num_observed}"
            )
        if 2 * self.horizon > self.first_validation:
            raise ValueError(
                f"horizon: {self.horizon} must be at most half of num_observed − num_validation = "
                f"{self.first_validation}, the points known at the first validation origin"
            )
        return self

    @property
    def first_validation(self) -> int:
        """The first of the origins that choose τ, penalties and strategy."""
        return self.num_observed - self.num_validation


class ChooseTauParams(Section):
    """The embedding dimensions and penalties to choose from."""

    taus: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Distinct] = Field(
        default=[1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128], min_length=1
    )
    penalties: Annotated[list[Positive], Distinct] = Field(default=[0.1, 1.0, 10.0, 100.0], min_length=1)
