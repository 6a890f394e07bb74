import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.forecasting.models.regression import Problem, ridge
from timemachine.forecasting.strategies.lag_strategies import LAG_STRATEGIES, by_series, fed_back, lag_forecaster

WALKS = np.random.default_rng(0).normal(size=(3, 90)).cumsum(1)
ORIGINS = np.arange(60, 90)


@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([*LAG_STRATEGIES]),
)
@settings(max_examples=60)
def test_every_strategy_forecasts_one_step_as_the_recursive_one(
    seed: int, tau: int, output_chunk_length: int, penalty: float, name: str
) -> None:
    x = np.random.default_rng(seed).normal(size=(2, 50)).cumsum(1)
    # A model of several outputs at once has fewer pairs, and so is another model one step ahead, too.
    length = 1 if name == "multi_output" else output_chunk_length
    found, expected = (
        lag_forecaster(each, ridge(penalty), tau, length)(x[:, :40])(x, np.arange(40, 51), 1)
        for each in (name, "recursive")
    )
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_recursive_forecast_is_the_books_multistep_prediction() -> None:
    (model,) = ridge(0.0)(WALKS[:1, :60], [Problem(4, (1,))])
    expected = [*WALKS[0, :60]]
    for _ in range(20):
        expected.append(model(np.array([[expected[-4:]]])).item())
    predictions = lag_forecaster("recursive", ridge(0.0), 4)(WALKS[:1, :60])(WALKS[:1], np.array([60]), 20)
    assert predictions[0, 0] == pytest.approx(np.array(expected[60:]))


def mean_of_window(windows: np.ndarray) -> np.ndarray:
    return windows.mean(-1, keepdims=True)


def test_a_prediction_made_at_t_for_k_steps_ahead_stands_at_t_plus_k() -> None:
    ramp = np.arange(20.0)[None]
    predictions = fed_back(lambda windows: windows[..., -1:], 1)(ramp, np.arange(5, 17), 4)
    assert (ramp[0, 8:] - predictions[0, :, 3] == 4).all()


def test_the_first_of_many_steps_is_one_step_and_one_origin_is_forecast_as_among_many() -> None:
    forecast = fed_back(mean_of_window, 4)
    predictions = forecast(WALKS, ORIGINS, 30)
    assert np.array_equal(forecast(WALKS, ORIGINS, 1), predictions[..., :1])
    assert np.array_equal(forecast(WALKS[:, :60], ORIGINS[:1], 30), predictions[:, :1])


@given(st.integers(60, 89), st.floats(-9, 9))
def test_changing_the_future_never_changes_a_forecast(changed: int, by: float) -> None:
    other = WALKS.copy()
    other[:, changed:] += by
    before, after = (fed_back(mean_of_window, 2)(x, ORIGINS, 8) for x in (WALKS, other))
    assert np.array_equal(before[:, : changed - 60 + 1], after[:, : changed - 60 + 1])


def test_a_direct_forecast_k_steps_ahead_is_the_regression_on_what_came_k_steps_after() -> None:
    forecast = lag_forecaster("direct", ridge(0.0), 3, 4)(WALKS[:, :60])(WALKS, ORIGINS, 4)
    for series, predictions in zip(WALKS, forecast, strict=True):
        for k in range(1, 5):
            pairs = [[1, *series[t - 3 : t], series[t + k - 1]] for t in range(3, 60 - k + 1)]
            weights = np.linalg.lstsq(np.array(pairs)[:, :-1], np.array(pairs)[:, -1])[0]
            expected = [weights @ [1, *series[origin - 3 : origin]] for origin in ORIGINS]
            assert predictions[:, k - 1] == pytest.approx(np.array(expected))


def test_direct_and_multi_output_are_one_regression_but_for_the_pairs_that_one_lacks() -> None:
    direct, multi_output = (
        lag_forecaster(name, ridge(0.0), 3, 4)(WALKS[:, :60])(WALKS, ORIGINS, 4)
        for name in ("direct", "multi_output")
    )
    assert multi_output[..., 3] == pytest.approx(direct[..., 3])
    assert not np.allclose(multi_output[..., 0], direct[..., 0], atol=1e-6)


@pytest.mark.parametrize("name", LAG_STRATEGIES)
def test_every_strategy_continues_an_exact_recurrence_exactly(name: str) -> None:
    x = np.sin(0.3 * np.arange(102))[None] + 2
    predictions = lag_forecaster(name, ridge(0.0), 2, 4)(x[:, :60])(x, ORIGINS, 12)
    assert predictions[0] == pytest.approx(np.stack([x[0, o : o + 12] for o in ORIGINS]), abs=1e-9)


@pytest.mark.parametrize("name", LAG_STRATEGIES)
def test_beyond_the_chunk_predictions_are_fed_back(name: str) -> None:
    forecast = lag_forecaster(name, ridge(1.0), 5, 3)(WALKS[:, :60])
    predictions = forecast(WALKS[:, :60], np.array([60]), 8)[:, 0]
    for known in (3, 6):
        extended = np.concatenate([WALKS[:, :60], predictions[:, :known]], axis=1)
        rest = forecast(extended, np.array([60 + known]), 8 - known)[:, 0]
        assert rest == pytest.approx(predictions[:, known:])


@pytest.mark.parametrize("name", LAG_STRATEGIES)
def test_the_horizon_does_not_change_the_first_steps(name: str) -> None:
    forecast = lag_forecaster(name, ridge(0.0), 5, 4)(WALKS[:, :60])
    assert forecast(WALKS, ORIGINS, 6) == pytest.approx(forecast(WALKS, ORIGINS, 11)[..., :6])


def test_by_series_gives_every_series_the_forecast_of_its_own() -> None:
    forecasters = [
        lag_forecaster("recursive", ridge(penalty), tau) for tau, penalty in ((1, 0.0), (7, 0.0), (4, 100.0))
    ]
    chosen = [2, 0, 2]
    predictions = by_series([forecasters[i] for i in chosen])(WALKS[:, :60])(WALKS, ORIGINS, 9)
    for i, choice in enumerate(chosen):
        alone = forecasters[choice](WALKS[i : i + 1, :60])(WALKS[i : i + 1], ORIGINS, 9)
        assert predictions[i] == pytest.approx(alone[0])


@pytest.mark.parametrize(("name", "num_needed"), [("recursive", 6), ("direct", 9), ("direct_recursive", 9)])
def test_a_series_that_is_too_short_for_a_pair_is_an_error(name: str, num_needed: int) -> None:
    forecaster = lag_forecaster(name, ridge(1.0), 5, 4)
    forecaster(WALKS[:, :num_needed])
    with pytest.raises(ValueError, match=f"{num_needed - 1} observations are too few for"):
        forecaster(WALKS[:, : num_needed - 1])
