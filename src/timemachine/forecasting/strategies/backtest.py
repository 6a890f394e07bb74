"""Backtests: the errors of forecasts from rolling origins."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import Forecaster

# Forecast values that are computed at a time; larger blocks only take memory.
_BLOCK_VALUES = 2**22


@dataclass(frozen=True)
class Backtest:
    """Forecasts of series x (num_series, T) from every origin first, first + 1, …, T − 1, and their errors.

    Attributes:
        predictions: (num_series, num_origins, horizon); column k − 1 of origin i is for index first + i + k − 1.
        errors: (num_series, num_origins, horizon) of predictions minus true values; NaN beyond the end of x.
    """

    predictions: Array
    errors: Array


@dataclass(frozen=True)
class ErrorSums:
    """Sums of the known errors of a backtest over its origins, by horizon.

    Attributes:
        num_known: (horizon,) number of errors of a series; all are at least 1.
        absolute: (num_series, horizon) sums of absolute errors.
        squared: (num_series, horizon) sums of squared errors.
    """

    num_known: Array
    absolute: Array
    squared: Array

    @classmethod
    def of(cls, errors: Array) -> "ErrorSums":
        """Sum errors (num_series, num_origins, horizon), NaN where the true value is not known."""
        known = ~np.isnan(errors)
        absolute = np.abs(np.where(known, errors, 0))
        with np.errstate(over="ignore"):
            return cls(known[0].sum(0).astype(float), absolute.sum(1), np.square(absolute).sum(1))

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        return ErrorSums(
            self.num_known + other.num_known, self.absolute + other.absolute, self.squared + other.squared
        )

    def rmse(self) -> Array:
        """Return the root mean squared error by horizon: (num_series, horizon)."""
        return np.sqrt(self.squared / self.num_known)

    def mae(self) -> Array:
        """Return the mean absolute error by horizon: (num_series, horizon)."""
        return self.absolute / self.num_known

    def spread(self) -> Array:
        """Return the standard deviation of the absolute error by horizon: (num_series, horizon).

        It is infinite if an error is infinite.
        """
        mean_squared, mae = self.squared / self.num_known, self.mae()
        variance = mean_squared - np.square(np.where(np.isfinite(mean_squared), mae, 0))
        return np.sqrt(np.maximum(variance, 0))

    def score(self) -> Array:
        """Return the root mean squared error over all origins and horizons: (num_series,), infinite or finite."""
        with np.errstate(over="ignore"):
            return np.sqrt(self.squared.sum(1) / self.num_known.sum())


def backtest(forecaster: Forecaster, x: Array, first: int, horizon: int, num_folds: int = 1) -> Backtest:
    """Forecast series from rolling origins.

    Args:
        forecaster: refitted for each fold, to all values before the fold's first origin.
        x: (num_series, T).
        first: the first origin.
        horizon: number of steps ahead.
        num_folds: number of groups of consecutive origins; with 1 the forecaster is fitted once.

    Raises:
        UserError: T − first is below `horizon`, `first` below 1 or too early for the forecaster.
    """
    blocks = list(_blocks(forecaster, x, first, horizon, num_folds))
    return Backtest(*(np.concatenate(arrays, axis=1) for arrays in zip(*blocks, strict=True)))


def error_sums(forecaster: Forecaster, x: Array, first: int, horizon: int, num_folds: int = 1) -> ErrorSums:
    """Return the sums of the errors of a backtest, without keeping the errors; arguments as of `backtest`."""
    sums = [ErrorSums.of(errors) for _, errors in _blocks(forecaster, x, first, horizon, num_folds)]
    return sum(sums[1:], start=sums[0])


def _blocks(
    forecaster: Forecaster, x: Array, first: int, horizon: int, num_folds: int
) -> Iterator[tuple[Array, Array]]:
    """Yield predictions and errors (num_series, num_origins, horizon) of consecutive origins."""
    num_series, num_points = x.shape
    if first < 1:
        raise UserError(f"{first} observations are too few: a first origin has at least 1 before it")
    if not 0 < horizon <= num_points - first:
        raise UserError(f"{num_points} observations are too few for {horizon} steps ahead of the first {first}")
    size = max(1, _BLOCK_VALUES // (num_series * horizon))
    for a, b in pairwise(np.unique(np.linspace(first, num_points, num_folds + 1).astype(np.int64))):
        forecast = forecaster(x[:, :a])
        for begin in range(a, b, size):
            end = min(begin + size, b)
            predictions = forecast(x, np.arange(begin, end), horizon)
            with np.errstate(over="ignore", invalid="ignore"):
                # A forecast that grew without bound has an infinite error.
                finite = np.where(np.isfinite(predictions), predictions, np.inf)
                yield predictions, finite - true_values(x, begin, horizon, end)


def true_values(x: Array, first: int, horizon: int, last: int | None = None) -> Array:
    """Return what forecasts of x (num_series, T) from the origins first … last − 1 are compared with.

    Args:
        x: the series.
        first: the first origin.
        horizon: number of steps ahead.
        last: one past the last origin; T by default.

    Returns:
        (num_series, last − first, horizon); NaN beyond the end of x.
    """
    beyond = np.full((len(x), horizon - 1), np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([x, beyond], axis=1), horizon, axis=1)
    return windows[:, first:last]
