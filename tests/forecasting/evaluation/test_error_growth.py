from pathlib import Path

import numpy as np
import pytest

from timemachine.forecasting.evaluation.error_growth import (
    expected_errors,
    fit_recursion,
    largest_root,
    measure_growth,
    recursion,
)
from timemachine.forecasting.evaluation.tables import at_horizons, write_curves
from timemachine.forecasting.models.regression import Affine, Array, ridge
from timemachine.forecasting.strategies.config import BacktestParams
from timemachine.plots.forecasting import read_rows

ORIGINS = BacktestParams(num_observed=3000, num_validation=100, horizon=16, num_seeds=3, trained={})


def expected(weights: list[float], noise_std: float, horizon: int) -> Array:
    return expected_errors(np.array([weights]), np.array([noise_std]), horizon)[0]


def simulated(weights: list[float], fixed_point: float, noise_std: float, num_series: int, length: int) -> Array:
    """Series of an autoregression, begun at its fixed point: (num_series, length)."""
    tau = len(weights)
    x = np.full((num_series, tau + length), fixed_point)
    noise = np.random.default_rng(0).normal(0, noise_std, size=x.shape)
    for t in range(tau, tau + length):
        x[:, t] = fixed_point + (x[:, t - tau : t] - fixed_point) @ weights + noise[:, t]
    return x[:, tau:]


def test_the_error_of_a_first_order_autoregression_grows_as_the_closed_form_says() -> None:
    k = np.arange(1, 21)
    closed_form = 0.3 * np.sqrt((1 - 0.8 ** (2 * k)) / (1 - 0.8**2))
    assert expected([0.8], 0.3, 20) == pytest.approx(closed_form)
    assert expected([1.0], 0.3, 20) == pytest.approx(0.3 * np.sqrt(k))


def test_errors_without_bound_follow_no_recursion_and_their_models_have_no_roots() -> None:
    assert np.isnan(fit_recursion(np.array([1.0, np.inf, np.inf]))).all()
    assert np.isnan(largest_root(np.array([[np.inf, 1.0]]))).all()


def test_an_exact_autoregression_errs_as_much_as_it_predicts() -> None:
    weights = [-0.5, 0.2, 1.1]  # the oldest first: turned round it would explode
    x = simulated(weights, 10.0, 0.7, 4000, 12)
    buffer = x[:, :3]
    for _ in range(9):
        step = 10 + (buffer[:, -3:] - 10) @ weights
        buffer = np.concatenate([buffer, step[:, None]], axis=1)
    assert (buffer - x)[:, 3:].std(0) == pytest.approx(expected(weights, 0.7, 9), rel=0.05)


def test_what_is_predicted_of_a_fitted_model_is_what_its_backtest_measures() -> None:
    weights = [-0.5, 1.2]
    x = simulated(weights, 20 / 3, 0.7, 3, 6000)
    numbers, curves = measure_growth(ridge(0.0), 2, x, ORIGINS)
    assert numbers["fixed_point"] == pytest.approx(20 / 3, rel=0.05)
    assert numbers["largest_root"] == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert curves["autoregression"] == pytest.approx(expected(weights, 0.7, 16), rel=0.05)
    assert curves["measured"] == pytest.approx(curves["autoregression"], rel=0.1)
    assert curves["recursion"][:4] == pytest.approx(curves["measured"][:4], rel=0.1)


def test_the_impulse_response_of_two_lags_is_their_recurrence() -> None:
    errors = expected([-1.0, 2 * np.cos(0.01)], 1.0, 50)
    response = np.sin(0.01 * np.arange(1, 51)) / np.sin(0.01)
    assert errors == pytest.approx(np.sqrt(np.cumsum(response**2)))


def test_the_largest_root_is_that_of_the_polynomial() -> None:
    # (z − 0.9) (z − 0.5) = z² − 1.4 z + 0.45
    assert largest_root(np.array([[-0.45, 1.4], [-0.81, 2 * 0.9 * np.cos(0.3)]])) == pytest.approx(0.9)


@pytest.mark.parametrize(("intercept", "fixed_point"), [(3.0, 60.0), (0.0, 0.0)])
def test_the_fixed_point_is_forecast_from_itself(intercept: float, fixed_point: float) -> None:
    model = Affine(np.tile([[-0.45], [1.4]], (3, 1, 1)), np.full((3, 1, 1), intercept))
    numbers, _ = measure_growth(lambda x, problems: [model], 2, np.ones((3, 3100)), ORIGINS)
    assert numbers["fixed_point"] == pytest.approx(fixed_point)


@pytest.mark.parametrize("intercept", [2.0, 0.0])
def test_a_random_walk_has_no_fixed_point(intercept: float) -> None:
    model = Affine(np.tile([[0.0], [1.0]], (3, 1, 1)), np.full((3, 1, 1), intercept))
    numbers, _ = measure_growth(lambda x, problems: [model], 2, np.ones((3, 3100)), ORIGINS)
    assert numbers["fixed_point"] is None


def test_the_books_recursion_is_recovered_from_its_errors() -> None:
    errors = recursion(0.2, 0.05, 0.8, 30)
    assert errors[:3] == pytest.approx([0.2, 0.21, 0.218])
    assert fit_recursion(errors) == pytest.approx((0.05, 0.8))
    assert fit_recursion(1e9 * errors)[0] == pytest.approx(0.05e9)


def test_errors_that_do_not_grow_stay_as_they_are() -> None:
    assert recursion(0.3, *fit_recursion(np.full(9, 0.3)), 50) == pytest.approx(0.3)


def test_values_that_are_not_finite_are_empty_cells_that_figures_read_as_nan(tmp_path: Path) -> None:
    measured, predicted = np.array([1.5, np.inf]), np.array([1.0, 2.0])
    curves = {"measured": measured, "recursion": np.array([1.5, np.nan]), "autoregression": predicted}
    write_curves(tmp_path / "growth.csv", ["model"], {("linear",): curves})
    assert (tmp_path / "growth.csv").read_text().splitlines()[2] == "linear,2,,,2.0"
    first, second = read_rows(tmp_path / "growth.csv").to_dict("records")
    assert first == {"model": "linear", "k": 1, "measured": 1.5, "recursion": 1.5, "autoregression": 1.0}
    assert np.isnan(second["measured"])
    assert at_horizons(measured, [2, 1]) == {"2": None, "1": 1.5}


@pytest.mark.parametrize("damaged", ["model,k,measured\nlinear,1\n", "model,k\nlinear,one\n", "model,k\nlinear,1"])
def test_a_damaged_table_is_not_read(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "growth.csv").write_text(damaged)
    with pytest.raises(ValueError, match=r"growth\.csv: not a table of forecasts"):
        read_rows(tmp_path / "growth.csv")
