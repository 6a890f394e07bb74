"""One-step, k-step and multistep forecasts of one series with a one-step model, whose predictions are fed back.

A one-step model maps features (n, τ) to predictions (n,). Observations are indexed from 0. An origin is the index
of the first value that a forecast does not know: at origin i, x_0 … x_{i−1} are known, and the k-th prediction is
for index i + k − 1, k steps after the last known value.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError

Array = NDArray[np.float64]
OneStepModel = Callable[[Array], Array]


def one_step(model: OneStepModel, x: Array, tau: int, first: int) -> Array:
    """Predict x[first:] one step ahead, each from the τ true observations before it: (T − first,)."""
    return k_steps(model, x, tau, first, 1)[:, 0]


def multistep(model: OneStepModel, observed: Array, tau: int, horizon: int) -> Array:
    """Predict the `horizon` values after the observed series, feeding predictions back: (horizon,)."""
    return feed_back(_one_step_chunk(model), observed[None, -tau:], horizon)[0]


def k_steps(model: OneStepModel, x: Array, tau: int, first: int, max_k: int) -> Array:
    """Predict 1 … max_k steps ahead from every origin first, first + 1, …, T − 1.

    Returns:
        (T − first, max_k): row i, column k − 1 is the k-th prediction made at origin first + i. It is for index
        first + i + k − 1, which is beyond the series in the last k − 1 rows.

    Raises:
        UserError: there are fewer than τ observations before the first origin, or fewer than max_k after it.
    """
    if first < tau or len(x) - first < max_k:
        raise UserError(f"{len(x)} observations are too few for {max_k} steps ahead from {first} with tau = {tau}")
    histories = np.lib.stride_tricks.sliding_window_view(x, tau)[first - tau : -1]
    return feed_back(_one_step_chunk(model), histories, max_k)


def at_horizon(predictions: Array, x: Array, first: int, k: int) -> tuple[Array, Array]:
    """Return the k-th predictions of `k_steps` whose true values are known, and these values, aligned."""
    true = x[first + k - 1 :]
    return predictions[: len(true), k - 1], true


def _one_step_chunk(model: OneStepModel) -> Callable[[Array], Array]:
    return lambda histories: model(histories)[:, None]


def feed_back(chunk: Callable[[Array], Array], histories: Array, num_steps: int) -> Array:
    """Continue all histories at once, feeding predictions back.

    Args:
        chunk: maps the last τ values (…, τ) to predictions of the next one or more (…, m).
        histories: (…, τ).
        num_steps: number of predictions.

    Returns:
        (…, num_steps). Predictions that grow without bound become infinite or NaN.
    """
    *n, tau = histories.shape
    buffer = np.empty((*n, tau + num_steps))
    buffer[..., :tau] = histories
    k = 0
    with np.errstate(over="ignore", invalid="ignore"):
        while k < num_steps:
            predicted = chunk(buffer[..., k : k + tau])[..., : num_steps - k]
            buffer[..., tau + k : tau + k + predicted.shape[-1]] = predicted
            k += predicted.shape[-1]
    return buffer[..., tau:]


def rmse(predicted: Array, true: Array) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def mae(predicted: Array, true: Array) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(predicted - true)))
