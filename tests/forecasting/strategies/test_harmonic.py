import numpy as np
import pytest

from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.strategies.harmonic import HarmonicTerms, fit_harmonics, harmonic

SINES = np.stack([noisy_sine(1000, 0.01, 0.2, seed).x for seed in range(20)])
ONE_SINE = HarmonicTerms(1, intercept=False)


def multistep(x: np.ndarray, observed: int, horizon: int, max_harmonics: int = 3) -> np.ndarray:
    return harmonic(max_harmonics)(x[:, :observed])(x, np.array([observed]), horizon)[:, 0]


def test_the_books_frequency_is_found_from_less_than_a_period() -> None:
    found, _, _ = fit_harmonics(SINES[:, :604], ONE_SINE)
    assert np.abs(found - 0.01).max() < 3e-4
    assert found.mean() == pytest.approx(0.01, abs=5e-5)


@pytest.mark.parametrize(("horizon", "most"), [(396, 0.22), (64, 0.215)])
def test_the_books_sine_is_forecast_down_to_little_more_than_its_noise(horizon: int, most: float) -> None:
    errors = multistep(SINES, 604, horizon) - SINES[:, 604 : 604 + horizon]
    assert 0.19 < np.sqrt(np.square(errors).mean(1)).mean() <= most


def test_a_higher_frequency_with_an_overtone_and_a_large_intercept_is_found() -> None:
    t = np.arange(700)
    x = 1000 + 3 * np.sin(0.37 * t + 1) + np.sin(2 * 0.37 * t) + np.random.default_rng(0).normal(0, 0.3, 700)
    frequencies, coefficients, _ = fit_harmonics(x[None, :600], HarmonicTerms(2, intercept=True))
    assert frequencies == pytest.approx(0.37, abs=2e-4)
    assert coefficients[0, 0] == pytest.approx(1000, abs=0.1)
    errors = multistep(x[None], 600, 100) - x[600:]
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(0.3, rel=0.2)


@pytest.mark.parametrize("unit", [1e-100, 1e-9, 1.0, 1e9])
@pytest.mark.parametrize("frequency", [0.01, 0.7, 3.1])
def test_without_noise_the_sine_goes_on_exactly_in_every_unit(frequency: float, unit: float) -> None:
    x = unit * np.sin(frequency * np.arange(1, 1001))[None]
    assert multistep(x, 604, 396) / unit == pytest.approx(x[:, 604:] / unit, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9])
def test_a_constant_stays(value: float) -> None:
    assert multistep(np.full((1, 50), value), 40, 10) == pytest.approx(value, rel=1e-9)


def test_an_alternating_series_goes_on_alternating() -> None:
    x = 5 + (-1.0) ** np.arange(60)[None]
    assert multistep(x, 50, 10) == pytest.approx(x[:, 50:], abs=1e-9)


@pytest.mark.parametrize("num_points", [9, 12, 33])
def test_the_sum_of_squares_is_that_of_the_curve_even_where_terms_coincide(num_points: int) -> None:
    # Among so many short series of noise the best frequency is often π / K, where the last sine is zero.
    x = np.random.default_rng(0).normal(size=(40, num_points))
    for shape in (HarmonicTerms(K, intercept) for K in (1, 2, 3) for intercept in (False, True)):
        frequencies, coefficients, rss = fit_harmonics(x, shape)
        residuals = shape.curve(frequencies, np.arange(num_points, dtype=np.float64), coefficients) - x
        assert rss == pytest.approx(np.square(residuals).sum(1))


def test_a_long_series_is_searched_too() -> None:
    x = np.sin(0.7 * np.arange(20_000)) + np.random.default_rng(0).normal(size=20_000)
    assert fit_harmonics(x[None], ONE_SINE)[0] == pytest.approx(0.7, abs=1e-5)


def test_too_few_points_are_an_error() -> None:
    with pytest.raises(ValueError, match="4 observations are too few for a harmonic regression"):
        harmonic(3)(np.zeros((1, 4)))
    assert harmonic(3)(np.ones((1, 5)))(np.ones((1, 5)), np.array([5]), 2) == pytest.approx(1)


def test_a_forecast_is_a_curve_of_time_whatever_its_origin() -> None:
    forecast = harmonic(1)(SINES[:2, :300])
    predictions = forecast(SINES[:2], np.array([310, 300]), 20)
    assert np.array_equal(predictions[:, 0, :10], predictions[:, 1, 10:])
