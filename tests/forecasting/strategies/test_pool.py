from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.forecasting.strategies.backtest import backtest, error_sums
from timemachine.forecasting.strategies.baselines import drift, last_value
from timemachine.forecasting.strategies.combination import choose, known_errors, mean_forecaster, mean_of
from timemachine.forecasting.strategies.config import MEAN_OF_BEST, BacktestParams
from timemachine.forecasting.strategies.pool import is_few, pool, seasons_of
from timemachine.forecasting.strategies.pooled import pooled

TIME = np.arange(72)
RNG = np.random.default_rng(0)
SEASON = np.tile([1.0, 3, 2, 6], 18)
GROWING = 1.02**TIME * SEASON * np.exp(RNG.normal(0, 0.05, 72))
FIRST, HORIZON = 36, 5


@cache
def forecasts(kind: str, x: tuple[float, ...]) -> dict[str, np.ndarray]:
    """The forecasts of all candidates that the first values allow, from all origins."""
    series = np.array(x)
    seasons = (4, 6) if kind == "many" else (30,)
    candidates = pool(series[:FIRST], len(series), seasons)
    return {
        name: backtest(one.forecaster, series[None], FIRST, HORIZON, one.num_folds).predictions[0]
        for name, one in candidates.items()
    }


@given(st.sampled_from(["many", "few"]), st.integers(FIRST, 71), st.floats(-1e9, 1e9))
@settings(max_examples=20, deadline=None)
def test_changing_the_future_never_changes_a_forecast_of_any_candidate(kind: str, changed: int, by: float) -> None:
    other = GROWING.copy()
    other[changed:] += by
    num_known = changed - FIRST + 1  # origins up to the first changed value
    before, after = forecasts(kind, tuple(GROWING)), forecasts(kind, tuple(other))
    assert list(before) == list(after)
    for name, predictions in after.items():
        assert np.array_equal(predictions[:num_known], before[name][:num_known]), name


def test_positive_values_have_logarithms_and_multiplicative_seasons_too() -> None:
    positive, other = pool(GROWING[:FIRST], 72, (4,)), pool(GROWING[:FIRST] - 5, 72, (4,))
    assert {"theta_4", "differenced_4_ridge_5", "last_4_values"} < set(other) < set(positive)
    assert {"log_theta_4", "multiplicative_holt_winters_4"} < set(positive) - set(other)
    assert all(one.in_logs for name, one in pool(GROWING[:FIRST], 72, (4,), log=True).items())
    assert not any(one.in_logs for name, one in pool(GROWING[:FIRST], 72, (4,), log=False).items())


@pytest.mark.parametrize(
    ("num_points", "season", "few"), [(24, 1, True), (25, 1, False), (35, 12, True), (36, 12, False)]
)
def test_few_values_or_periods_are_left_to_three_candidates(num_points: int, season: int, few: bool) -> None:
    seasons = (season,) if season > 1 else ()
    assert is_few(num_points, seasons) == few
    assert (len(pool(GROWING[:12], num_points, seasons)) == 3) == few


def test_the_season_is_that_of_the_calendar_or_else_found_in_the_values() -> None:
    assert seasons_of(SEASON, (24, 168)) == (24, 168)
    assert seasons_of(SEASON, ()) == (4,)
    assert seasons_of(TIME**2.0, ()) == ()


def test_an_error_is_known_when_the_value_that_it_is_about_is_known() -> None:
    errors = np.array([[[1.0, 2], [3, np.inf], [5, np.nan]]])
    assert known_errors(errors).tolist() == [[0, 1, 1 + 2 + 3, 1 + 2 + 3 + 5 + 1e9]]


def test_the_best_of_each_method_are_chosen_anew_at_each_origin() -> None:
    # Candidates 0 and 1 are of one method; 2 is much worse than the best; at first no error is known.
    errors = np.array([[[1.0], [1.0], [9.0]], [[1.2], [0.9], [1.0]], [[2.5], [2.5], [2.5]], [[1.9], [1.1], [1.1]]])
    chosen = choose(errors, ["a", "a", "b", "c"], 2.0, 3)
    assert chosen.tolist() == [[0, 2, 3], [0, 3, -1], [0, 3, -1], [1, 3, -1]]
    means = mean_of(np.arange(12.0).reshape(4, 3, 1), chosen[:-1])
    assert means.tolist() == [[(0 + 6 + 9) / 3], [(1 + 10) / 2], [(2 + 11) / 2]]


def test_a_mean_of_forecasters_is_the_mean_of_their_forecasts() -> None:
    x, origins = GROWING[None], np.array([40, 50])
    expected = (drift(x)(x, origins, 3) + last_value(x)(x, origins, 3)) / 2
    assert mean_forecaster([drift, last_value])(x)(x, origins, 3) == pytest.approx(expected)


def test_the_pipeline_has_each_method_and_the_mean_of_the_best_for_each_series() -> None:
    p = BacktestParams(num_observed=60, num_validation=20, horizon=5, num_folds=2, num_seeds=1, trained={})
    x = np.stack([GROWING, GROWING[::-1] + 1])
    found = pooled(x[:, :60], p, (4,))
    assert {"theta_4", "holt_winters_4", "differenced_4_ridge", "drift", MEAN_OF_BEST} < set(found)
    assert "ridge" not in found
    scores = {name: error_sums(one, x[:, :60], 40, 5, 2).score() for name, one in found.items()}
    ranked = np.sort(np.stack([score for name, score in scores.items() if name != MEAN_OF_BEST]), axis=0)
    assert (scores[MEAN_OF_BEST] < ranked[4]).all()
    alone = pooled(x[1:, :60], p, (4,))[MEAN_OF_BEST](x[1:, :60])(x[1:], np.array([60]), 5)
    assert found[MEAN_OF_BEST](x[:, :60])(x, np.array([60]), 5)[1] == pytest.approx(alone[0], rel=1e-6)
