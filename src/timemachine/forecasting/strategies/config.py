"""Configuration of forecasting strategies and of the rolling origins that compare them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from timemachine.base.config import Count, Distinct, Name, Positive, Section

Strategy = Literal["recursive", "direct", "multi_output", "direct_recursive"]


class BacktestParams(Section):
    """How forecasting strategies are compared from rolling origins."""

    num_observed: Count
    num_validation: Count
    horizon: Annotated[int, Field(ge=3, le=10_000)]
    num_folds: Annotated[int, Field(ge=1, le=10_000)] = 3
    num_seeds: Annotated[int, Field(ge=1, le=10_000)]
    max_harmonics: Annotated[int, Field(ge=1, le=20)] = 3
    trained: dict[Name, Annotated[list[Strategy], Distinct]]

    @model_validator(mode="after")
    def _room_for_origins(self) -> Self:
        if not self.horizon <= self.num_validation < self.num_observed:
            raise ValueError(
                f"num_validation: {self.num_validation} is not from horizon, {self.horizon}, to below "
                f"num_observed, {self.num_observed}"
            )
        return self

    @model_validator(mode="after")
    def _room_for_direct_strategies(self) -> Self:
        if 2 * self.horizon > self.first_validation:
            raise ValueError(
                f"horizon: {self.horizon} is above half of what is known at the first validation origin, "
                f"num_observed − num_validation = {self.first_validation}"
            )
        return self

    @property
    def first_validation(self) -> int:
        """The first origin by which choices are made."""
        return self.num_observed - self.num_validation


class ChooseTauParams(Section):
    """Which embedding dimensions and penalties are tried."""

    taus: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Distinct] = Field(
        default=[1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128], min_length=1
    )
    penalties: Annotated[list[Positive], Distinct] = Field(default=[0.1, 1.0, 10.0, 100.0], min_length=1)
