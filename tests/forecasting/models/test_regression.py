import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.forecasting.models.regression import Problem, affine, ridge
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.strategies.lag_strategies import lag_forecaster

LEAST_SQUARES = ridge(0.0)
BOOK = noisy_sine(1000, 0.01, 0.2, 0).x


def textbook(X: np.ndarray, Y: np.ndarray, damping: float) -> np.ndarray:
    """Weights above the intercept, which the normal equations with damping · ‖W‖² leave alone."""
    ones = np.hstack([X, np.ones((len(X), 1))])
    penalty = damping * np.diag([*np.ones(X.shape[1]), 0.0])
    return np.linalg.solve(ones.T @ ones + penalty, ones.T @ Y)


@given(
    st.integers(0, 2**32),
    st.integers(1, 5),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.sampled_from([0.0, 0.5, 20.0]),
)
@settings(max_examples=40)
def test_weights_and_intercept_are_those_of_the_normal_equations(
    seed: int, width: int, ahead: list[int], penalty: float
) -> None:
    x = np.random.default_rng(seed).normal(50, 3, size=(2, 40))
    problem = Problem(width, tuple(sorted(ahead)))
    (model,) = ridge(penalty)(x, [problem])
    for i, (X, Y) in enumerate(zip(*problem.pairs(x), strict=True)):
        expected = textbook(X, Y, penalty * X.var(0).mean())
        assert model.weights[i] == pytest.approx(expected[:-1], abs=1e-8)
        assert model.intercept[i, 0] == pytest.approx(expected[-1], abs=1e-6)


def test_pairs_are_windows_and_what_comes_so_many_steps_after_them() -> None:
    windows, ahead = Problem(2, (1, 3)).pairs(np.arange(7.0)[None])
    assert windows.tolist() == [[[0, 1], [1, 2], [2, 3]]]
    assert ahead.tolist() == [[[2, 4], [3, 5], [4, 6]]]


def test_the_book_gives_996_pairs_and_the_first_forecast_is_x_605() -> None:
    features, labels = Problem(4, (1,)).pairs(np.arange(1, 1001.0)[None])
    assert features.shape == (1, 996, 4)
    assert labels.shape == (1, 996, 1)
    assert labels[0, 599] == 604


@pytest.mark.slow
def test_least_squares_of_four_lags_is_the_autoregression_of_statsmodels() -> None:
    from statsmodels.tsa.ar_model import AutoReg  # which takes seconds

    (model,) = LEAST_SQUARES(BOOK[None], [Problem(4, (1,))])
    intercept, *newest_first = AutoReg(BOOK, 4).fit().params
    assert model.intercept.item() == pytest.approx(intercept)
    assert model.weights[0, ::-1, 0] == pytest.approx(np.array(newest_first))


def test_where_windows_do_not_determine_the_weights_they_are_the_smallest() -> None:
    x = np.random.default_rng(0).normal(7, 1, 20)
    problem = Problem(14, (1,))
    (model,) = LEAST_SQUARES(x[None], [problem])
    X, Y = (a[0] for a in problem.pairs(x[None]))
    centred = X - X.mean(0)
    assert model.weights[0] == pytest.approx(np.linalg.lstsq(centred, Y - Y.mean(0))[0], abs=1e-9)
    assert model(X[None])[0] == pytest.approx(Y)


def test_without_noise_two_lags_suffice_and_the_forecast_is_exact() -> None:
    sine = noisy_sine(1000, 0.01, 0.0, 0).x[None]
    (model,) = LEAST_SQUARES(sine[:, :604], [Problem(2, (1,))])
    assert model.weights.ravel() == pytest.approx(np.array([-1, 2 * np.cos(0.01)]), abs=1e-9)
    assert model.intercept.item() == pytest.approx(0, abs=1e-9)
    forecast = lag_forecaster("recursive", LEAST_SQUARES, 2)(sine[:, :604])(sine, np.array([604]), 396)
    assert forecast[:, 0] == pytest.approx(sine[:, 604:], abs=1e-6)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("penalty", [0.0, 10.0])
def test_the_unit_of_a_series_and_its_zero_do_not_change_the_forecast(unit: float, penalty: float) -> None:
    x = BOOK[None]
    forecaster = lag_forecaster("recursive", ridge(penalty), 8)
    expected = forecaster(x[:, :604])(x, np.arange(604, 700), 10)
    moved = unit * (x + 100)
    found = forecaster(moved[:, :604])(moved, np.arange(604, 700), 10)
    assert found / unit - 100 == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -1e-9 / 3])
def test_a_constant_stays(value: float, penalty: float) -> None:
    x = np.full((1, 999), value)
    forecast = lag_forecaster("recursive", ridge(penalty), 16)(x)(x, np.array([999]), 64)
    assert forecast == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("slope", "begin"), [(1.0, 0.0), (-1e-9, 1e-9), (0.1, 1e6), (1e9, 0.0)])
def test_a_line_goes_on(slope: float, begin: float) -> None:
    x = begin + slope * np.arange(264.0)[None]
    forecast = lag_forecaster("recursive", LEAST_SQUARES, 4)(x[:, :200])(x, np.array([200]), 64)[:, 0]
    assert forecast == pytest.approx(x[:, 200:], rel=1e-9)


def test_one_series_that_determines_nothing_does_not_change_the_others() -> None:
    x = np.stack([BOOK, np.ones(1000), np.arange(1000.0), 1e9 * BOOK])
    (model,) = LEAST_SQUARES(x, [Problem(12, (1, 5))])
    for i, one in enumerate(x):
        (alone,) = LEAST_SQUARES(one[None], [Problem(12, (1, 5))])
        assert model.weights[i] == pytest.approx(alone.weights[0], abs=1e-9)
        assert model.intercept[i] == pytest.approx(alone.intercept[0], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.0, 0.1])
@pytest.mark.parametrize("jump", [-4e12, 1e-3, 1e7])
def test_a_jump_behind_the_last_window_gives_windows_that_never_vary_no_weight(
    jump: float, penalty: float
) -> None:
    x = np.full((1, 110), 7.0)
    x[:, -1] += jump
    (model,) = ridge(penalty)(x, [Problem(6, (1,))])
    assert (model.weights == 0).all()
    assert model.intercept.item() == pytest.approx(7 + jump / 104)


def test_affine_recovers_the_weights_of_a_function() -> None:
    W, b = np.random.default_rng(0).normal(size=(3, 4, 2)), np.random.default_rng(1).normal(size=(3, 1, 2))
    found = affine(lambda X: X @ W + b, 3, 4)
    assert found.weights == pytest.approx(W)
    assert found.intercept == pytest.approx(b)


def test_two_observations_too_few_are_an_error() -> None:
    with pytest.raises(ValueError, match="7 observations are too few for 4 past ones and one 5 steps ahead"):
        LEAST_SQUARES(np.zeros((1, 7)), [Problem(4, (1, 5))])
