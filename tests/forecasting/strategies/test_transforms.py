import numpy as np
import pytest

from timemachine.forecasting.models.regression import ridge
from timemachine.forecasting.strategies.baselines import drift, last_value, mean, periodic
from timemachine.forecasting.strategies.lag_strategies import Forecaster, lag_forecaster
from timemachine.forecasting.strategies.transforms import differenced, logged, seasonally_adjusted

TIME = np.arange(60)
SEASON = np.tile([3.0, -1, 0, -2], 15)
ORIGINS = np.array([40, 47])


def forecast(forecaster: Forecaster, x: np.ndarray, horizon: int = 9) -> np.ndarray:
    return forecaster(x[None, :40])(x[None], ORIGINS, horizon)[0]


def true(x: np.ndarray, horizon: int = 9) -> np.ndarray:
    return x[ORIGINS[:, None] + np.arange(horizon)]


@pytest.mark.parametrize(
    ("forecaster", "x"),
    [
        (differenced(mean, 1), 7 + 2.5 * TIME),
        (differenced(mean, 4), 7 + 2.5 * TIME + SEASON),
        (differenced(differenced(last_value, 4), 1), 7 + 0.1 * TIME**2 + SEASON),
        (differenced(lag_forecaster("recursive", ridge(1e-9), 1), 1), 5 + 100 * 0.9**TIME),
        (logged(drift), 3 * 1.05**TIME),
        (logged(differenced(mean, 4)), 1.02**TIME * np.exp(0.1 * SEASON)),
        (seasonally_adjusted(drift, 4), 5 + 0.7 * TIME + SEASON),
    ],
)
def test_a_transform_is_undone_in_the_forecast(forecaster: Forecaster, x: np.ndarray) -> None:
    assert forecast(forecaster, x) == pytest.approx(true(x), rel=1e-6)


def test_the_season_of_noise_is_small_and_that_of_too_few_values_is_none() -> None:
    noise = np.random.default_rng(0).normal(size=60)
    adjusted = forecast(seasonally_adjusted(mean, 4), noise)
    assert np.abs(adjusted - forecast(mean, noise)).max() < 0.2 < np.abs(forecast(periodic(4), noise)).max()
    x = SEASON[None]
    few = seasonally_adjusted(last_value, 4)(x[:, :5])(x, np.array([5]), 3)
    assert few.tolist() == [[[3.0, 3.0, 3.0]]]


def test_differences_of_more_steps_than_there_are_values_are_an_error() -> None:
    with pytest.raises(ValueError, match="40 observations are too few for differences of 40 steps"):
        forecast(differenced(mean, 40), SEASON)
