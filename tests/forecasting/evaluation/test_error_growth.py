from pathlib import Path

import numpy as np
import pytest

from timemachine.base.files import write_table
from timemachine.forecasting.evaluation.error_growth import Autoregression, ErrorGrowth, Recursion, growth_rows
from timemachine.forecasting.models.regression import Problem, ridge
from timemachine.forecasting.strategies.backtest import backtest
from timemachine.forecasting.strategies.lag_strategies import recursive
from timemachine.plots.forecasting import read_rows


def autoregression(weights: list[float], intercept: float = 0.0, noise_std: float = 1.0) -> Autoregression:
    return Autoregression(np.array([weights]), np.array([intercept]), np.array([noise_std]))


def simulated(model: Autoregression, num_series: int, num_points: int) -> np.ndarray:
    """Series of the model, begun at its fixed point: (num_series, num_points)."""
    tau = model.weights.shape[1]
    x = np.full((num_series, tau + num_points), model.fixed_point()[0])
    noise = np.random.default_rng(0).normal(0, model.noise_std, size=x.shape)
    for t in range(tau, tau + num_points):
        x[:, t] = model.intercept + x[:, t - tau : t] @ model.weights[0] + noise[:, t]
    return x[:, tau:]


def test_the_error_of_a_first_order_autoregression_grows_as_the_closed_form_says() -> None:
    k = np.arange(1, 21)
    expected = 0.3 * np.sqrt((1 - 0.8 ** (2 * k)) / (1 - 0.8**2))
    assert autoregression([0.8], 5, 0.3).by_horizon(20)[0] == pytest.approx(expected)
    assert autoregression([1.0], 0, 0.3).by_horizon(20)[0] == pytest.approx(0.3 * np.sqrt(k))


def test_errors_without_bound_follow_no_recursion_and_their_models_have_no_roots() -> None:
    assert np.isnan(Recursion.fitted(np.array([1.0, np.inf, np.inf])).carried)
    assert np.isnan(autoregression([np.inf, 1.0]).largest_root()).all()


def test_an_exact_autoregression_errs_as_much_as_it_predicts() -> None:
    model = autoregression([-0.5, 0.2, 1.1], 2.0, 0.7)  # the oldest first: turned round it would explode
    x = simulated(model, 4000, 12)
    buffer = x[:, :3]
    for _ in range(9):
        step = model.intercept[0] + buffer[:, -3:] @ model.weights[0]
        buffer = np.concatenate([buffer, step[:, None]], axis=1)
    measured = (buffer - x)[:, 3:].std(0)
    assert measured == pytest.approx(model.by_horizon(9)[0], rel=0.05)


def test_what_is_predicted_of_a_fitted_model_is_what_its_backtest_measures() -> None:
    truth = autoregression([-0.5, 1.2], 2.0, 0.7)
    x = simulated(truth, 3, 6000)
    problem = Problem(2, (1,))
    (model,) = ridge(0.0)(x[:, :3000], [problem])
    fitted = Autoregression.fitted(model, *problem.pairs(x[:, :3000]))
    assert fitted.noise_std == pytest.approx(0.7, rel=0.05)
    assert fitted.fixed_point() == pytest.approx(truth.fixed_point()[0], rel=0.05)
    measured = backtest(recursive(ridge(0.0), 2), x, 3000, 16).rmse()
    assert measured == pytest.approx(fitted.by_horizon(16), rel=0.1)


def test_the_impulse_response_of_two_lags_is_their_recurrence() -> None:
    response = autoregression([-1.0, 2 * np.cos(0.01)]).impulse_response(50)[0]
    assert response == pytest.approx(np.sin(0.01 * np.arange(1, 51)) / np.sin(0.01))


def test_the_largest_root_and_the_fixed_point_are_those_of_the_polynomial() -> None:
    # (z − 0.9) (z − 0.5) = z² − 1.4 z + 0.45; x = 3 + 1.4 x − 0.45 x at x = 60
    real = autoregression([-0.45, 1.4], 3.0)
    assert real.largest_root() == pytest.approx(0.9)
    assert real.fixed_point() == pytest.approx(60)
    turning = autoregression([-0.81, 2 * 0.9 * np.cos(0.3)])
    assert turning.largest_root() == pytest.approx(0.9)
    assert turning.fixed_point() == 0


@pytest.mark.parametrize(("intercept", "value"), [(2.0, np.inf), (0.0, np.nan)])
def test_a_random_walk_has_no_fixed_point(intercept: float, value: float) -> None:
    assert autoregression([0.0, 1.0], intercept).fixed_point() == pytest.approx(value, nan_ok=True)


def test_the_books_recursion_is_recovered_from_its_errors() -> None:
    errors = Recursion(0.2, 0.05, 0.8).by_horizon(30)
    assert errors[:3] == pytest.approx([0.2, 0.21, 0.218])
    found = Recursion.fitted(errors)
    assert (found.first, found.added, found.carried) == pytest.approx((0.2, 0.05, 0.8))
    assert Recursion.fitted(1e9 * errors).added == pytest.approx(0.05e9)


def test_errors_that_do_not_grow_stay_as_they_are() -> None:
    assert Recursion.fitted(np.full(9, 0.3)).by_horizon(50) == pytest.approx(0.3)


def test_values_that_are_not_finite_are_empty_cells_that_figures_read_as_nan(tmp_path: Path) -> None:
    measured = np.array([1.5, np.inf])
    growth = ErrorGrowth(measured, Recursion.fitted(measured), np.array([1.0, 2.0]), np.nan, 0.0)
    write_table(tmp_path / "growth.csv", growth_rows({"linear": growth}))
    assert (tmp_path / "growth.csv").read_text().splitlines()[2] == "linear,2,,,2.0"
    first, second = read_rows(tmp_path / "growth.csv").to_dict("records")
    assert first == {"model": "linear", "k": 1, "measured": 1.5, "recursion": 1.5, "autoregression": 1.0}
    assert np.isnan(second["measured"])
    assert growth.summary([2])["measured"] == {"2": None}


@pytest.mark.parametrize("damaged", ["model,k,measured\nlinear,1\n", "model,k\nlinear,one\n", "model,k\nlinear,1"])
def test_a_damaged_table_is_not_read(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "growth.csv").write_text(damaged)
    with pytest.raises(ValueError, match=r"growth\.csv: not a table of forecasts"):
        read_rows(tmp_path / "growth.csv")
