"""Lag strategies: how models whose input is a window of the past forecast many steps.

A forecaster is fitted to series (num_series, n). The fitted forecaster maps series (num_series, T), origins and a
horizon to predictions (num_series, num_origins, horizon). An origin is the index of the first value that a
forecast does not know; the prediction in column k − 1 is for index origin + k − 1. All series and all origins are
forecast at once.

Source of the strategies and their names: Ben Taieb et al., 2012, A review and comparison of strategies for
multi-step ahead time series forecasting.
"""

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from timemachine.forecasting.models.regression import Array, Predict, Problem, Regressor
from timemachine.forecasting.strategies.config import StrategyName

Origins = NDArray[np.int64]
FittedForecaster = Callable[[Array, Origins, int], Array]
Forecaster = Callable[[Array], FittedForecaster]
LAG_STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)


def fed_back(predict: Predict, tau: int) -> FittedForecaster:
    """Return the forecaster that feeds the predictions of a fitted model back.

    Args:
        predict: maps the last τ values (…, τ) to predictions of the next one or more (…, m).
        tau: embedding dimension τ; every origin has at least so many values before it.

    Returns:
        The forecaster. Its predictions are infinite or NaN where they grow without bound.
    """

    def forecast(x: Array, origins: Origins, horizon: int) -> Array:
        buffer = np.empty((len(x), len(origins), tau + horizon))
        buffer[..., :tau] = x[:, origins[:, None] + np.arange(-tau, 0)]
        k = 0
        with np.errstate(over="ignore", invalid="ignore"):
            while k < horizon:
                predicted = predict(buffer[..., k : k + tau])[..., : horizon - k]
                buffer[..., tau + k : tau + k + predicted.shape[-1]] = predicted
                k += predicted.shape[-1]
        return buffer[..., tau:]

    return forecast


def lag_forecaster(
    strategy: StrategyName, regress: Regressor, tau: int, output_chunk_length: int = 1
) -> Forecaster:
    """Return the forecaster of a lag strategy.

    - `recursive`: one model for one step ahead (the book's multistep prediction).
    - `direct`: one model for each of `output_chunk_length` steps ahead.
    - `multi_output`: one model of `output_chunk_length` steps at once.
    - `direct_recursive`: one model for each step ahead, whose input also has the predictions of the steps before.
      The k-th is trained on windows of τ + k − 1 observations.

    For more steps the predictions are fed back.

    Args:
        strategy: one of `LAG_STRATEGIES`.
        regress: fits the models.
        tau: embedding dimension τ, past observations in a feature vector.
        output_chunk_length: number of steps that are forecast at a time; `recursive` ignores it.
    """
    steps = range(1, output_chunk_length + 1)
    problems = {
        "recursive": [Problem(tau, (1,))],
        "direct": [Problem(tau, (k,)) for k in steps],
        "multi_output": [Problem(tau, tuple(steps))],
        "direct_recursive": [Problem(tau + k - 1, (1,)) for k in steps],
    }[strategy]

    def fit(x: Array) -> FittedForecaster:
        predicts = regress(x, problems)

        def chunk(windows: Array) -> Array:
            ahead = []
            for predict in predicts:
                ahead.append(predict(windows))
                if strategy == "direct_recursive":
                    windows = np.concatenate([windows, ahead[-1]], axis=-1)
            return np.concatenate(ahead, axis=-1)

        return fed_back(chunk, tau)

    return fit


def by_series(forecasters: Sequence[Forecaster]) -> Forecaster:
    """Return the forecaster that uses forecasters[i] for series i; series with the same one are fitted at once."""
    rows = {one: [i for i, other in enumerate(forecasters) if other is one] for one in forecasters}

    def fit(x: Array) -> FittedForecaster:
        fitted = [(chosen, forecaster(x[chosen])) for forecaster, chosen in rows.items()]

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            predictions = np.empty((len(x), len(origins), horizon))
            for chosen, one in fitted:
                predictions[chosen] = one(x[chosen], origins, horizon)
            return predictions

        return forecast

    return fit
