"""Configuration of the evaluation of forecasts."""

from typing import Annotated

from pydantic import Field

from timemachine.base.config import Distinct, Section, matching

_UNTRAINED = matching(
    "last_value|mean|seasonal_naive|harmonic|"
    "(recursive|direct|multi_output|direct_recursive)_(least_squares|ridge)",
    "last_value, mean, seasonal_naive, harmonic, or recursive_, direct_, multi_output_ or direct_recursive_ with "
    "least_squares or ridge",
)


class EvaluateForecastParams(Section):
    """The horizons whose errors are reported."""

    k_steps: list[Annotated[int, Field(ge=1, le=100_000)]] = Field(min_length=1, max_length=8)


class IntervalsParams(Section):
    """Prediction intervals, and the series that their coverage is measured on."""

    strategies: Annotated[list[Annotated[str, _UNTRAINED]], Distinct] = Field(
        default=["harmonic", "recursive_ridge", "multi_output_ridge", "recursive_least_squares", "last_value"],
        min_length=1,
    )
    levels: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Distinct] = Field(min_length=1, max_length=8)
    num_calibration: Annotated[int, Field(ge=1, le=100_000)] = 59
    num_seeds: Annotated[int, Field(ge=1, le=10_000)]
