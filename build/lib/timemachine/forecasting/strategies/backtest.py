"""Backtests: the errors of forecasts from rolling origins."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import Forecaster


@dataclass(frozen=True)
class Backtest:
    """Forecasts of series x (num_series, T) from every origin first, first + 1, …, T − 1, and their errors.

    Attributes:
        predictions: (num_series, num_origins, horizon); column k − 1 of origin i is for index first + i + k − 1.
        errors: (num_series, num_origins, horizon) of predictions minus true values; NaN beyond the end of x.
    """

    predictions: Array
    errors: Array

    def rmse(self) -> Array:
        """Return the root mean squared error by horizon, over origins: (num_series, horizon)."""
        return np.sqrt(_mean(np.square, self.errors, 1))

    def mae(self) -> Array:
        """Return the mean absolute error by horizon, over origins: (num_series, horizon)."""
        return _mean(np.abs, self.errors, 1)

    def spread(self) -> Array:
        """Return the standard deviation of the absolute error by horizon, over origins: (num_series, horizon).

        It is infinite if an error is infinite.
        """
        mae = self.mae()
        deviations = np.abs(self.errors) - np.where(np.isfinite(mae), mae, 0)[:, None]
        return np.sqrt(_mean(np.square, deviations, 1))

    def score(self) -> Array:
        """Return the root mean squared error over all origins and horizons: (num_series,), infinite or finite."""
        return np.sqrt(_mean(np.square, self.errors.reshape(len(self.errors), -1), 1))


def _mean(size: Callable[[Array], Array], errors: Array, axis: int) -> Array:
    """Return the mean size of the errors that are not NaN; at least one is not."""
    with np.errstate(over="ignore"):
        return np.nanmean(size(errors), axis=axis)


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
    num_points = x.shape[1]
    if first < 1:
        raise UserError(f"{first} observations are too few: a first origin has at least 1 before it")
    if not 0 < horizon <= num_points - first:
        raise UserError(f"{num_points} observations are too few for {horizon} steps ahead of the first {first}")
    bounds = np.unique(np.linspace(first, num_points, num_folds + 1).astype(np.int64))
    predictions = np.concatenate(
        [forecaster(x[:, :a])(x, np.arange(a, b), horizon) for a, b in pairwise(bounds)], axis=1
    )
    beyond = np.full((len(x), horizon - 1), np.nan)
    true = np.lib.stride_tricks.sliding_window_view(np.concatenate([x, beyond], axis=1), horizon, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        # A forecast that grew without bound has an infinite error; NaN means that the true value is not known.
        errors = np.where(np.isfinite(predictions), predictions, np.inf) - true[:, first:]
    return Backtest(predictions, errors)
