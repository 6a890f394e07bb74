import numpy as np
import pytest

from timemachine.forecasting.evaluation.forecast import forecast_with_model, mae, model_errors, rmse

X = np.sin(0.01 * np.arange(1, 1001))
NOISE = np.random.default_rng(0).normal(0, 0.2, 1000)


def exact(features: np.ndarray) -> np.ndarray:
    """The recurrence that the sine obeys: x_t = 2 cos(0.01) x_{t−1} − x_{t−2}."""
    return 2 * np.cos(0.01) * features[..., -1:] - features[..., -2:-1]


def test_an_exact_recurrence_has_no_error_at_any_horizon() -> None:
    report, by_horizon = model_errors(forecast_with_model(exact, X, 2, 604, 64), X, [1, 4, 16, 64])
    assert report["one_step_rmse"] < 1e-12
    assert report["multistep_rmse"] < 1e-6
    assert list(report["k_step_rmse"]) == ["1", "4", "16", "64"]
    assert len(by_horizon["rmse"]) == 64
    assert by_horizon["rmse"].max() < 1e-9


def test_the_last_value_of_a_slow_series_errs_by_the_noise_of_both_ends() -> None:
    forecasts = forecast_with_model(lambda features: features[..., -1:], X + NOISE, 1, 604, 1)
    report, _ = model_errors(forecasts, X + NOISE, [1])
    assert report["one_step_rmse"] == pytest.approx(0.2 * np.sqrt(2), rel=0.1)


def test_one_step_equals_k_step_for_1_and_the_curves_by_horizon() -> None:
    forecasts = forecast_with_model(lambda f: f.mean(-1, keepdims=True), X + NOISE, 4, 604, 16)
    report, by_horizon = model_errors(forecasts, X + NOISE, [1, 16])
    assert report["one_step_rmse"] == pytest.approx(report["k_step_rmse"]["1"])
    for name in ("rmse", "mae"):
        assert len(by_horizon[name]) == 16
        assert by_horizon[name][15] == report[f"k_step_{name}"]["16"]


def test_every_forecast_has_the_index_of_its_first_value() -> None:
    forecasts = forecast_with_model(exact, X, 2, 604, 64)
    begins = {"1 step": 2, "multistep": 604, **{f"k = {k}": 603 + k for k in range(1, 65)}}
    assert {label: begin for label, (begin, _) in forecasts.items()} == begins
    for begin, predicted in forecasts.values():
        assert predicted == pytest.approx(X[begin:], abs=1e-6)


def test_a_horizon_beyond_the_series_is_an_error() -> None:
    with pytest.raises(ValueError, match="too few for 64 steps"):
        forecast_with_model(exact, X[:100], 2, 50, 64)


def test_rmse_and_mae_are_what_they_say() -> None:
    errors = np.array([0.0, 4.0])
    assert rmse(errors) == pytest.approx(np.sqrt(8))
    assert mae(errors) == 2
