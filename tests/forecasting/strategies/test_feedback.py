import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.forecasting.series.embedding import embed
from timemachine.forecasting.strategies.feedback import at_horizon, k_steps, mae, multistep, one_step, rmse

X = np.sin(0.01 * np.arange(1, 301))


def exact(features: np.ndarray) -> np.ndarray:
    """The recurrence that the sine obeys: x_t = 2 cos(0.01) x_{t−1} − x_{t−2}."""
    return 2 * np.cos(0.01) * features[:, -1] - features[:, -2]


def test_the_book_gives_996_pairs_and_the_first_forecast_is_x_605() -> None:
    features, labels = embed(np.arange(1, 1001.0), 4)
    assert features.shape == (996, 4)
    assert labels.shape == (996,)
    assert labels[599] == 604


def test_features_are_the_past_in_temporal_order() -> None:
    features, labels = embed(np.arange(6.0), 2)
    assert features.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert labels.tolist() == [2, 3, 4, 5]


def test_an_exact_model_forecasts_every_horizon_exactly_at_its_right_time() -> None:
    predictions = k_steps(exact, X, 2, 100, 64)
    for k in (1, 4, 16, 64):
        predicted, true = at_horizon(predictions, X, 100, k)
        assert len(predicted) == 200 - k + 1
        assert predicted == pytest.approx(true, abs=1e-9)
    assert multistep(exact, X[:100], 2, 200) == pytest.approx(X[100:], abs=1e-6)


def test_a_prediction_made_at_t_for_k_steps_ahead_sits_at_t_plus_k() -> None:
    ramp = np.arange(20.0)
    predicted, true = at_horizon(k_steps(lambda f: f[:, -1], ramp, 1, 5, 4), ramp, 5, 4)
    assert (true - predicted == 4).all()


def test_one_step_is_k_step_for_1_and_multistep_is_the_first_origin() -> None:
    def model(features: np.ndarray) -> np.ndarray:
        return features.mean(1)

    predictions = k_steps(model, X, 4, 50, 30)
    assert np.array_equal(one_step(model, X, 4, 50), predictions[:, 0])
    assert np.array_equal(multistep(model, X[:50], 4, 30), predictions[0])


@given(st.integers(60, 290), st.floats(-9, 9))
def test_changing_the_future_never_changes_a_forecast(changed: int, by: float) -> None:
    other = X.copy()
    other[changed:] += by
    before, after = (k_steps(exact, x, 2, 50, 8) for x in (X, other))
    assert np.array_equal(before[: changed - 50 + 1], after[: changed - 50 + 1])


def test_too_few_observations_are_an_error() -> None:
    with pytest.raises(ValueError, match="5 observations leave no pair at tau = 5"):
        embed(np.arange(5.0), 5)
    with pytest.raises(ValueError, match="too few for 64 steps"):
        k_steps(exact, X[:100], 2, 50, 64)


def test_rmse_and_mae_are_what_they_say() -> None:
    assert rmse(np.array([0.0, 3.0]), np.array([0.0, -1.0])) == pytest.approx(np.sqrt(8))
    assert mae(np.array([0.0, 3.0]), np.array([0.0, -1.0])) == 2
