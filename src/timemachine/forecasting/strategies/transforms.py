"""Forecasters of transformed series: of differences, of logarithms, and without the season.

A transform is undone in the forecast. It uses no value from the origin of a forecast on.
"""

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, Origins

# A forecast in logarithms may grow so fast that it would hide all others in a mean.
_MOST_TIMES = 1000.0


def differenced(forecaster: Forecaster, lag: int) -> Forecaster:
    """Return the forecaster that forecasts x_t − x_{t−lag} by another one, and sums the differences.

    Raises:
        UserError: when fitted to a series of at most `lag` values.
    """

    def fit(x: Array) -> FittedForecaster:
        if x.shape[1] <= lag:
            raise UserError(f"{x.shape[1]} observations are too few for differences of {lag} steps")
        fitted = forecaster(x[:, lag:] - x[:, :-lag])

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            with np.errstate(over="ignore", invalid="ignore"):
                predictions = fitted(x[:, lag:] - x[:, :-lag], origins - lag, horizon)
                before = x[:, origins[:, None] + np.arange(-lag, 0)]  # (num_series, num_origins, lag)
                for first in range(0, horizon, lag):
                    chunk = predictions[..., first : first + lag]
                    chunk += before[..., : chunk.shape[-1]]
                    before = chunk
            return predictions

        return forecast

    return fit


def logged(forecaster: Forecaster) -> Forecaster:
    """Return the forecaster that forecasts the logarithms of a positive series by another one.

    The exponential of a forecast of the mean of logarithms is a forecast of the median. It is at most 1,000 times
    the largest value before its origin. After a value that is not positive, the last value is repeated.
    """

    def log(x: Array) -> Array:
        return np.log(np.where(x > 0, x, 1.0))

    def fit(x: Array) -> FittedForecaster:
        fitted = forecaster(log(x))

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            most = _MOST_TIMES * np.maximum.accumulate(np.abs(x), axis=1)[:, origins - 1, None]
            positive = (np.minimum.accumulate(x, axis=1) > 0)[:, origins - 1, None]
            with np.errstate(over="ignore"):
                predictions = np.minimum(np.exp(fitted(log(x), origins, horizon)), most)
            return np.where(positive, predictions, x[:, origins - 1, None])

        return forecast

    return fit


def seasonally_adjusted(forecaster: Forecaster, period: int) -> Forecaster:
    """Return the forecaster that subtracts a season, forecasts the rest by another one, and adds the season.

    The season comes from the regression of all values that the forecaster is fitted to on time and on the place in
    the period. It is multiplied by its adjusted R² among what the time does not explain, so that the season of few
    values, or of noise, is small. It is 0 where the values are too few for the regression.
    """

    def fit(x: Array) -> FittedForecaster:
        season = np.stack([_season(one, period) for one in x])  # (num_series, period)
        n = x.shape[1]
        fitted = forecaster(x - season[:, np.arange(n) % period])

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            adjusted = x - season[:, np.arange(x.shape[1]) % period]
            ahead = origins[:, None] + np.arange(horizon)
            return fitted(adjusted, origins, horizon) + season[:, ahead % period]

        return forecast

    return fit


def _season(x: Array, period: int) -> Array:
    n = len(x)
    spare = n - period - 1  # degrees of freedom of the residuals
    if spare < 1:
        return np.zeros(period)
    time = np.arange(n) - (n - 1) / 2
    place = np.arange(n) % period == np.arange(period)[:, None]
    regressors = np.concatenate([place, time[None]]).T.astype(np.float64)
    line = np.stack([np.ones(n), time], axis=1)
    coefficients, without = (np.linalg.lstsq(one, x)[0] for one in (regressors, line))
    explained = float(np.square(x - regressors @ coefficients).sum())
    total = float(np.square(x - line @ without).sum())
    if total <= 1e-20 * float(np.square(x).sum()):  # an exact line
        return np.zeros(period)
    share = max(0.0, 1 - explained / total * (n - 2) / spare)
    means = coefficients[:-1]
    return share * (means - means.mean())
