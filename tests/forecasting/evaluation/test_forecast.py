import numpy as np
import pytest

from timemachine.forecasting.evaluation.forecast import (
    error_by_horizon,
    forecast_with_model,
    mae,
    model_errors,
    rmse,
)

X = np.sin(0.01 * np.arange(1, 1001))
NOISE = np.random.default_rng(0).normal(0, 0.2, 1000)


def exact(features: np.ndarray) -> np.ndarray:
    """The recurrence that the sine obeys: x_t = 2 cos(0.01) x_{t−1} − x_{t−2}."""
    return 2 * np.cos(0.01) * features[..., -1:] - features[..., -2:-1]


def test_an_exact_recurrence_has_no_error_at_any_horizon() -> None:
    report = model_errors(forecast_with_model(exact, X, 2, 604, 64), X, [1, 4, 16, 64])
    assert report["one_step_rmse"] < 1e-12
    assert report["multistep_rmse"] < 1e-6
    assert list(report["k_step_rmse"]) == ["1", "4", "16", "64"]
    assert max(report["k_step_rmse"].values()) < 1e-9


def test_the_last_value_of_a_slow_series_errs_by_the_noise_of_both_ends() -> None:
    report = model_errors(
        forecast_with_model(lambda features: features[..., -1:], X + NOISE, 1, 604, 1), X + NOISE, [1]
    )
    assert report["one_step_rmse"] == pytest.approx(0.2 * np.sqrt(2), rel=0.1)


def test_one_step_equals_k_step_for_1_and_the_table_by_horizon() -> None:
    result = forecast_with_model(lambda f: f.mean(-1, keepdims=True), X + NOISE, 4, 604, 16)
    report = model_errors(result, X + NOISE, [1, 16])
    rows = error_by_horizon(result)
    assert report["one_step_rmse"] == pytest.approx(report["k_step_rmse"]["1"])
    assert [row["k"] for row in rows] == list(range(1, 17))
    assert rows[15]["rmse"] == report["k_step_rmse"]["16"]
    assert rows[15]["mae"] == report["k_step_mae"]["16"]


def test_every_forecast_has_the_index_of_its_first_value() -> None:
    curves = forecast_with_model(exact, X, 2, 604, 64).curves([1, 4, 64])
    assert {label: begin for label, (begin, _) in curves.items()} == {
        "1 step": 2,
        "multistep": 604,
        "k = 1": 604,
        "k = 4": 607,
        "k = 64": 667,
    }
    for begin, predicted in curves.values():
        assert predicted == pytest.approx(X[begin:], abs=1e-6)


def test_a_horizon_beyond_the_series_is_an_error() -> None:
    with pytest.raises(ValueError, match="too few for 64 steps"):
        forecast_with_model(exact, X[:100], 2, 50, 64)


def test_rmse_and_mae_are_what_they_say() -> None:
    errors = np.array([0.0, 4.0])
    assert rmse(errors) == pytest.approx(np.sqrt(8))
    assert mae(errors) == 2
