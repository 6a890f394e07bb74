from pathlib import Path

import numpy as np
import pytest
from graph import ROOT

from timemachine.forecasting.own_forecast import forecast_series, output_path
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import params

PARAMS = params.load(ROOT / "params.yaml")
RNG = np.random.default_rng(0)
T = np.arange(224)
SEASON = 3 * np.sin(2 * np.pi * T / 12)
X = SEASON + RNG.normal(0, 0.3, 224)


def series(x: np.ndarray) -> Series:
    return Series(np.arange(len(x)), x)


def test_a_noisy_season_is_forecast_near_its_noise_and_held_by_its_intervals() -> None:
    found = forecast_series(series(X[:200]), 24, PARAMS, level=0.9)
    assert found.ranking[found.strategy] < 0.4 < 2 < found.ranking["last_value"]
    assert list(found.ranking.values()) == sorted(found.ranking.values())
    assert found.strategy == next(iter(found.ranking))
    assert np.sqrt(np.square(found.x - SEASON[200:]).mean()) < 0.2
    assert found.time.tolist() == list(range(200, 224))
    assert np.mean(np.abs(found.x - X[200:]) <= found.half_widths) > 0.7
    assert found.coverage == pytest.approx(0.9, abs=0.07)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e270, 1e-320])
def test_the_unit_of_a_series_does_not_matter(unit: float) -> None:
    x = np.round(X[:40] * 1000)
    plain, other = (forecast_series(series(x * u), 3, PARAMS, level=0.5) for u in (1.0, unit))
    assert other.strategy == plain.strategy
    # What little is left of the digits of the smallest numbers decides how near they can come.
    assert other.x / unit == pytest.approx(plain.x, rel=1e-2 if unit < 1e-300 else 1e-6)
    errors = [one.ranking[one.strategy] for one in (plain, other)]
    assert errors[1] / unit == pytest.approx(errors[0], rel=1e-2 if unit < 1e-300 else 1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("x", [np.full(40, 5.0), np.zeros(40), 7e9 + 3e9 * np.arange(40.0)])
def test_what_never_changes_or_always_by_the_same_goes_on_so(x: np.ndarray) -> None:
    found = forecast_series(series(x[:37]), 3, PARAMS, level=0.8)
    assert found.x == pytest.approx(x[37:], rel=1e-9)
    assert found.half_widths == pytest.approx(np.zeros(3), abs=1e-9 * np.abs(x).max())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("horizon", [1, 2, 5, 40])
def test_eight_points_more_than_the_horizon_are_enough(horizon: int) -> None:
    found = forecast_series(series(X[: horizon + 8]), horizon, PARAMS)
    assert len(found.x) == horizon
    assert np.isfinite(found.x).all()
    assert found.ranking[found.strategy] <= found.ranking["last_value"]
    with pytest.raises(ValueError, match=rf"too few for {horizon} step.* at least {horizon + 8} are needed"):
        forecast_series(series(X[: horizon + 7]), horizon, PARAMS)


def test_of_a_long_series_only_the_end_counts() -> None:
    end = np.tile(X[:48], 250)
    found = [
        forecast_series(series(np.r_[x, end]), 2, PARAMS, "recursive_ridge").x for x in (np.zeros(1), 1e9 * X)
    ]
    assert np.array_equal(*found)


def test_intervals_reach_as_far_as_the_past_errors_say() -> None:
    walk = np.cumsum(np.tile([1.0, -1.0, 2.0, -2.0], 30))  # 0, 1 or 2 from where it was a step before
    found = forecast_series(series(walk), 1, PARAMS, "last_value", 0.6)
    assert found.half_widths.tolist() == [2]


def test_the_longest_horizon_with_intervals_of_a_level_is_said_and_true() -> None:
    with pytest.raises(ValueError, match=r"level 0\.9 for 13 steps ahead: .* at most 12 steps"):
        forecast_series(series(X[:40]), 13, PARAMS, level=0.9)
    found = forecast_series(series(X[:40]), 12, PARAMS, level=0.9)
    assert np.isfinite(found.half_widths).all()
    with pytest.raises(ValueError, match=r"need 99 past forecasts, .* only 20"):
        forecast_series(series(X[:40]), 1, PARAMS, level=0.99)


def test_trained_models_forecast_too_from_a_standardized_series() -> None:
    found = forecast_series(series(X[:60] + 1000), 3, PARAMS, "multi_output_rnn")
    assert np.abs(found.x - 1000).max() < 5
    assert found.ranking[found.strategy] < 5


def test_a_strategy_that_is_unknown_impossible_or_grows_without_bound_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^nope: unknown strategy; choose from last_value, .*direct_recursive_rnn$"
    ):
        forecast_series(series(X[:60]), 3, PARAMS, "nope")
    with pytest.raises(ValueError, match=r"^harmonic: 4 observations are too few"):
        forecast_series(series(X[:9]), 1, PARAMS, "harmonic")
    with pytest.raises(ValueError, match=r"^recursive_least_squares: .* without bound"):
        forecast_series(series(10.0 ** np.arange(40)), 30, PARAMS, "recursive_least_squares")
    with pytest.raises(ValueError, match=r"1e\+281 is beyond"):
        forecast_series(series(np.full(20, 1e281)), 3, PARAMS)


def test_the_output_is_a_csv_that_overwrites_nothing_it_was_made_from(tmp_path: Path) -> None:
    assert output_path(tmp_path / "own.csv", None) == Path("own_forecast.csv")
    for output in ("own.csv", "sub/../own.csv"):
        with pytest.raises(ValueError, match="overwrite"):
            output_path(tmp_path / "own.csv", tmp_path / output)
    with pytest.raises(ValueError, match="overwrite"):
        output_path(tmp_path / "own.png", tmp_path / "own.csv")
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        output_path(tmp_path / "own.csv", tmp_path / "figure.png")
