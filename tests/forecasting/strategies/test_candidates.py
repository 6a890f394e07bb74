import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.forecasting.strategies.backtest import Backtest, ErrorSums, backtest, error_sums
from timemachine.forecasting.strategies.candidates import CANDIDATES, all_lags, candidates, choose_lags
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams

NUM_OBSERVED, HORIZON = 100, 6
ORIGINS = BacktestParams(
    num_observed=NUM_OBSERVED,
    num_validation=40,
    horizon=HORIZON,
    num_folds=2,
    num_seeds=1,
    max_harmonics=2,
    trained={},
)
LAGS = ChooseTauParams(taus=[1, 2, 6, 99], penalties=[0.1, 100.0])
TIME = np.arange(130)
RNG = np.random.default_rng(0)
# All as different as can be, one of no variance, and in units of their own.
SERIES = np.stack(
    [
        np.sin(0.05 * TIME) + RNG.normal(0, 0.2, 130),
        1e9 * RNG.normal(size=130).cumsum(),
        1e-9 * np.tile([0, 3, 1, 0, 5], 26) + RNG.normal(0, 1e-10, 130),
        np.full(130, 7.0),
        2.0 * TIME + 1000,
        np.sin(0.3 * TIME),
    ]
)


def backtests(x: np.ndarray) -> dict[str, Backtest]:
    """What a stage does: choose on the observed part, and backtest all candidates behind it."""
    return {
        name: backtest(forecaster, x, NUM_OBSERVED, HORIZON, 3)
        for name, forecaster in candidates(x[:, :NUM_OBSERVED], ORIGINS, LAGS, 4).items()
    }


FORECASTS = backtests(SERIES)


def test_all_candidates_forecast_all_series() -> None:
    assert tuple(FORECASTS) == CANDIDATES
    assert all(np.isfinite(result.predictions).all() for result in FORECASTS.values())


@given(st.integers(NUM_OBSERVED, 129), st.floats(-1e12, 1e12))
@settings(max_examples=12)
def test_changing_the_future_never_changes_a_forecast_of_any_candidate(changed: int, by: float) -> None:
    other = SERIES.copy()
    other[:, changed:] += by * np.abs(SERIES).mean(1, keepdims=True)
    num_known = changed - NUM_OBSERVED + 1  # origins up to the first changed value
    for name, result in backtests(other).items():
        before = FORECASTS[name].predictions
        assert np.array_equal(result.predictions[:, :num_known], before[:, :num_known]), name


def test_a_batch_gives_each_series_what_it_gets_alone() -> None:
    for i, x in enumerate(SERIES):
        size = np.abs(x).max()
        for name, alone in backtests(x[None]).items():
            together = FORECASTS[name].predictions[i]
            assert alone.predictions[0] / size == pytest.approx(together / size, abs=1e-7), name


def test_every_strategy_of_a_model_begins_as_the_recursive_one() -> None:
    sizes = np.abs(SERIES).max(1)[:, None]
    for model in ("least_squares", "ridge"):
        for strategy in ("direct", "direct_recursive"):
            first, expected = (
                FORECASTS[f"{each}_{model}"].predictions[..., 0] / sizes for each in (strategy, "recursive")
            )
            assert first == pytest.approx(expected, abs=1e-9)


def test_exact_series_are_continued_exactly() -> None:
    for i, names in (
        (3, CANDIDATES),  # the constant
        (4, ["recursive_least_squares", "direct_least_squares", "multi_output_least_squares"]),  # the line
        (5, ["recursive_least_squares", "direct_recursive_least_squares", "harmonic"]),  # the sine
    ):
        for name in names:
            assert ErrorSums.of(FORECASTS[name].errors).score()[i] == pytest.approx(0, abs=1e-6), (i, name)


def test_lags_are_chosen_from_the_observed_part_alone() -> None:
    # Both are views of longer arrays, whose windows are views again.
    other = SERIES.copy()
    other[:, NUM_OBSERVED:] = np.nan
    for model in ("least_squares", "ridge"):
        chosen, scores = choose_lags(SERIES[:, :NUM_OBSERVED], model, ORIGINS, LAGS)
        again, same = choose_lags(other[:, :NUM_OBSERVED], model, ORIGINS, LAGS)
        assert chosen == again
        assert all(np.array_equal(scores[lags], same[lags]) for lags in scores)


def test_of_lags_that_are_equally_good_the_fewest_are_chosen() -> None:
    x = np.stack([np.full(100, 7.0), np.sin(0.3 * TIME[:100])])
    chosen, scores = choose_lags(x, "least_squares", ORIGINS, ChooseTauParams(taus=[6, 2, 1]))
    assert chosen[0] == (1, 0.0)
    assert chosen[1] in [(2, 0.0), (6, 0.0)]
    assert list(scores) == [(1, 0.0), (2, 0.0), (6, 0.0)]


def test_taus_above_half_of_the_first_observations_are_left_out() -> None:
    assert all_lags("least_squares", ORIGINS, LAGS) == [(1, 0.0), (2, 0.0), (6, 0.0)]
    assert all_lags("ridge", ORIGINS, LAGS) == [(1, 0.1), (1, 100.0), (2, 0.1), (2, 100.0), (6, 0.1), (6, 100.0)]
    assert all_lags("least_squares", ORIGINS, ChooseTauParams(taus=[31, 30])) == [(30, 0.0)]
    with pytest.raises(ValueError, match=r"no tau of \[31, 99\] is at most half of the first 60 observations"):
        choose_lags(SERIES[:, :NUM_OBSERVED], "ridge", ORIGINS, ChooseTauParams(taus=[31, 99]))


def test_every_series_has_the_lags_that_serve_it_best() -> None:
    observed = SERIES[:, :NUM_OBSERVED]
    chosen, scores = choose_lags(observed, "ridge", ORIGINS, LAGS)
    assert len(set(chosen)) > 1
    best = np.min(list(scores.values()), axis=0)
    assert [scores[lags][i] for i, lags in enumerate(chosen)] == best.tolist()


def test_only_the_wanted_candidates_are_made_in_the_order_of_all() -> None:
    wanted = ["recursive_ridge", "harmonic", "last_value"]
    assert list(candidates(SERIES[:, :NUM_OBSERVED], ORIGINS, LAGS, 4, wanted)) == [
        "last_value",
        "harmonic",
        "recursive_ridge",
    ]


def test_the_chosen_candidate_of_a_line_and_a_pattern_is_one_that_knows_them() -> None:
    observed = SERIES[:, :NUM_OBSERVED]
    found = candidates(observed, ORIGINS, LAGS, 4)
    scores = [error_sums(one, observed, ORIGINS.first_validation, HORIZON, 2).score() for one in found.values()]
    names = [CANDIDATES[i] for i in np.argmin(scores, axis=0)]
    assert names[3] == "last_value"
    assert names[4].endswith("least_squares")
    assert names[5] == "harmonic" or names[5].endswith("least_squares")
