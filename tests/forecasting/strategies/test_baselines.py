import numpy as np
import pytest

from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.strategies.baselines import find_period, last_value, mean, seasonal_naive

TIME = np.arange(200)
RNG = np.random.default_rng(0)
ORIGINS = np.array([150, 151, 180])


def test_the_last_value_and_the_mean_of_what_is_known_are_repeated() -> None:
    x = np.array([[1.0, 2, 6, 9], [0.0, 0, 3, 5]])
    origins = np.array([2, 3])
    assert last_value(x[:, :2])(x, origins, 2).tolist() == [[[2, 2], [6, 6]], [[0, 0], [3, 3]]]
    assert mean(x[:, :2])(x, origins, 2).tolist() == [[[1.5, 1.5], [3, 3]], [[0, 0], [1, 1]]]


def test_the_last_period_is_repeated() -> None:
    x = np.stack([np.tile([3.0, 1, 4, 1, 5], 40), np.tile([0.0, 9], 100)])
    predictions = seasonal_naive(x[:, :150])(x[:, :185], ORIGINS, 12)
    for i, origin in enumerate(ORIGINS):
        assert np.array_equal(predictions[:, i], x[:, origin : origin + 12])


def test_without_a_period_the_last_value_is_repeated() -> None:
    x = TIME[None] ** 2.0
    assert np.array_equal(seasonal_naive(x[:, :150])(x, ORIGINS, 5), last_value(x[:, :150])(x, ORIGINS, 5))


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(
    ("period", "pattern"),
    [
        (12, np.sin(2 * np.pi * TIME / 12)),
        (7, np.where(TIME % 7 == 3, 5.0, 0) + np.where(TIME % 7 == 5, 2.0, 0)),
        (2, 2 * (-1.0) ** TIME),
        (50, np.sin(2 * np.pi * TIME / 50) + np.sin(2 * np.pi * TIME / 25 + 1)),
    ],
)
def test_a_period_is_found_in_noise_and_beside_a_trend(period: int, pattern: np.ndarray, unit: float) -> None:
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0, 0.4, len(TIME))
        assert find_period(unit * (pattern + noise)) == pytest.approx(period, abs=period // 20)
        assert find_period(unit * (pattern + noise + 0.3 * TIME)) == pytest.approx(period, abs=period // 20)


def test_no_period_is_found_in_white_noise() -> None:
    assert [find_period(RNG.normal(size=n)) for n in (30, 100, 300, 1000) for _ in range(25)] == [1] * 100


@pytest.mark.parametrize("zero", [0.0, 1e9])
@pytest.mark.parametrize("x", [0.1 * TIME, np.zeros(200), np.full(999, 0.1), -TIME / 3e9, np.exp(TIME / 50)])
def test_no_period_is_found_in_a_line_a_constant_or_growth(x: np.ndarray, zero: float) -> None:
    assert find_period(x + zero) == 1


@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_no_period_is_found_in_less_than_one(noise_std: float) -> None:
    assert {
        find_period(noisy_sine(604, 0.01, noise_std, seed).x[:n]) for seed in range(9) for n in (304, 604)
    } == {1}


@pytest.mark.parametrize("num_points", range(1, 7))
def test_so_short_a_series_has_no_period(num_points: int) -> None:
    assert find_period((-1.0) ** np.arange(num_points)) == 1
