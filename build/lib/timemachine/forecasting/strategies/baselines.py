"""Baselines that any model should beat: the last value, the mean, the value one period ago."""

import numpy as np

from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Origins

# Peaks of the autocorrelation at multiples of the period are as high, except for noise: the first peak of at least
# this part of the highest one is the period.
_ALMOST = 0.8


def last_value(x: Array) -> FittedForecaster:
    """Repeat the last known value; nothing is fitted."""
    return lambda x, origins, horizon: np.repeat(x[:, origins - 1, None], horizon, axis=2)


def mean(x: Array) -> FittedForecaster:
    """Repeat the mean of all known values; nothing is fitted."""

    def forecast(x: Array, origins: Origins, horizon: int) -> Array:
        means = np.cumsum(x, axis=1)[:, origins - 1] / origins  # (num_series, num_origins)
        return np.repeat(means[..., None], horizon, axis=2)

    return forecast


def seasonal_naive(x: Array) -> FittedForecaster:
    """Repeat the last known period, whose length is `find_period` of x; without a period, the last value."""
    periods = [find_period(one) for one in x]

    def forecast(x: Array, origins: Origins, horizon: int) -> Array:
        steps = np.arange(horizon)
        return np.stack([one[origins[:, None] - p + steps % p] for one, p in zip(x, periods, strict=True)])

    return forecast


def find_period(x: Array) -> int:
    """Return the period of a series x (n,) in steps, 1 if none is found.

    The period is a lag at which the autocorrelation of x, without its linear trend, has a local peak. The height
    of a peak is measured from the lowest value before it; the first peak of at least 0.8 times the greatest height
    is taken. The series must contain three periods, and the greatest height must exceed the range that is expected
    of white noise, 2 √(2 ln n / n).
    """
    n = len(x)
    if n < 6:
        return 1
    time = np.arange(n) - (n - 1) / 2
    centred = x - x.mean()
    residual = centred - time * (time @ centred) / (time @ time)
    # The residual of an exact line is rounding error, which has peaks too.
    if np.abs(residual).max() <= 1e-10 * np.abs(x).max():
        return 1
    residual = np.ldexp(residual, -np.frexp(np.abs(residual).max())[1])  # so that no square underflows
    power = np.abs(np.fft.rfft(residual, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[: n // 3 + 2]
    correlation /= correlation[0]
    inner = correlation[1:-1]  # of the lags 1 … n // 3
    peaks = (inner > correlation[:-2]) & (inner >= correlation[2:])
    prominence = np.where(peaks, inner - np.minimum.accumulate(inner), 0)
    if prominence.max() <= 2 * np.sqrt(2 * np.log(n) / n):
        return 1
    return int(np.argmax(prominence >= _ALMOST * prominence.max())) + 1
