import numpy as np
import pytest

from timemachine.forecasting.evaluation.forecast import error_by_horizon, forecast_with_model, model_errors

X = np.sin(0.01 * np.arange(1, 1001))
NOISE = np.random.default_rng(0).normal(0, 0.2, 1000)


def exact(features: np.ndarray) -> np.ndarray:
    return 2 * np.cos(0.01) * features[:, -1] - features[:, -2]


def test_an_exact_recurrence_has_no_error_at_any_horizon() -> None:
    report = model_errors(forecast_with_model(exact, X, 2, 604, 64), X, [1, 4, 16, 64])
    assert report["one_step_rmse"] < 1e-12
    assert report["multistep_rmse"] < 1e-6
    assert list(report["k_step_rmse"]) == ["1", "4", "16", "64"]
    assert max(report["k_step_rmse"].values()) < 1e-9


def test_the_last_value_of_a_slow_series_errs_by_the_noise_of_both_ends() -> None:
    report = model_errors(
        forecast_with_model(lambda features: features[:, -1], X + NOISE, 1, 604, 1), X + NOISE, [1]
    )
    assert report["one_step_rmse"] == pytest.approx(0.2 * np.sqrt(2), rel=0.1)


def test_one_step_equals_k_step_for_1_and_the_table_by_horizon() -> None:
    result = forecast_with_model(lambda f: f.mean(1), X + NOISE, 4, 604, 16)
    report = model_errors(result, X + NOISE, [1, 16])
    rows = error_by_horizon(result, X + NOISE)
    assert report["one_step_rmse"] == pytest.approx(report["k_step_rmse"]["1"])
    assert [row["k"] for row in rows] == list(range(1, 17))
    assert rows[15]["rmse"] == report["k_step_rmse"]["16"]
    assert rows[15]["mae"] == report["k_step_mae"]["16"]
