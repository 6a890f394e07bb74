"""Lag strategies: how models whose input is a window of the past forecast many steps.

A forecaster is fitted to series (num_series, n). The fitted forecaster maps series (num_series, T), origins and a
horizon to predictions (num_series, num_origins, horizon). An origin is the index of the first value that a
forecast does not know; the prediction in column k − 1 is for index origin + k − 1. All series and all origins are
forecast at once.

Source of the strategies and their names: Ben Taieb et al., 2012, A review and comparison of strategies for
multi-step ahead time series forecasting.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.forecasting.models.regression import Array, Predict, Problem, Regressor

Origins = NDArray[np.int64]
FittedForecaster = Callable[[Array, Origins, int], Array]
Forecaster = Callable[[Array], FittedForecaster]
Strategy = Callable[[Regressor, int, int], Forecaster]


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


def recursive(regress: Regressor, tau: int, output_chunk_length: int = 1) -> Forecaster:
    """One model for one step ahead; its predictions are fed back (the book's multistep prediction).

    Args:
        regress: fits the models.
        tau: embedding dimension τ, past observations in a feature vector.
        output_chunk_length: ignored; all strategies have the same signature.
    """
    return _side_by_side(regress, tau, [(1,)])


def direct(regress: Regressor, tau: int, output_chunk_length: int) -> Forecaster:
    """One model for each of `output_chunk_length` steps ahead; for more steps their predictions are fed back.

    Args:
        regress: fits the models.
        tau: embedding dimension τ.
        output_chunk_length: number of models.
    """

    return _side_by_side(regress, tau, [(k,) for k in range(1, output_chunk_length + 1)])


def multi_output(regress: Regressor, tau: int, output_chunk_length: int) -> Forecaster:
    """One model of `output_chunk_length` steps at once; for more steps its predictions are fed back.

    Args:
        regress: fits the model.
        tau: embedding dimension τ.
        output_chunk_length: number of outputs.
    """

    return _side_by_side(regress, tau, [tuple(range(1, output_chunk_length + 1))])


def _side_by_side(regress: Regressor, tau: int, ahead: Sequence[tuple[int, ...]]) -> Forecaster:
    def fit(x: Array) -> FittedForecaster:
        predicts = regress(x, [Problem(tau, steps) for steps in ahead])
        return fed_back(lambda X: np.concatenate([predict(X) for predict in predicts], axis=-1), tau)

    return fit


def direct_recursive(regress: Regressor, tau: int, output_chunk_length: int) -> Forecaster:
    """One model for each step ahead, whose input also has the predictions of the steps before.

    The k-th model is trained on windows of τ + k − 1 observations; in a forecast, the last k − 1 of them are
    predictions. For more than `output_chunk_length` steps predictions are fed back.

    Args:
        regress: fits the models.
        tau: embedding dimension τ.
        output_chunk_length: number of models.
    """

    def fit(x: Array) -> FittedForecaster:
        predicts = regress(x, [Problem(tau + k, (1,)) for k in range(output_chunk_length)])

        def chunk(histories: Array) -> Array:
            for predict in predicts:
                histories = np.concatenate([histories, predict(histories)], axis=-1)
            return histories[..., tau:]

        return fed_back(chunk, tau)

    return fit


LAG_STRATEGIES: dict[str, Strategy] = {
    "recursive": recursive,
    "direct": direct,
    "multi_output": multi_output,
    "direct_recursive": direct_recursive,
}


def by_series(forecasters: Sequence[Forecaster], chosen: NDArray[np.int64]) -> Forecaster:
    """Return the forecaster that uses forecasters[chosen[i]] for series i; `chosen` has shape (num_series,)."""
    used = np.unique(chosen)

    def fit(x: Array) -> FittedForecaster:
        forecasts = {i: forecasters[i](x[chosen == i]) for i in used}

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            predictions = np.empty((len(x), len(origins), horizon))
            for i, one in forecasts.items():
                predictions[chosen == i] = one(x[chosen == i], origins, horizon)
            return predictions

        return forecast

    return fit
