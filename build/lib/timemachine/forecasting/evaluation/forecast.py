"""Forecasts of an autoregressive model, and their errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.tables import at_horizons
from timemachine.forecasting.models.regression import Array, Predict
from timemachine.forecasting.strategies.backtest import backtest
from timemachine.forecasting.strategies.lag_strategies import fed_back

Forecasts = dict[str, tuple[int, Array]]

# The squares of larger forecasts overflow in float32.
_LARGEST = 1e18


def forecast_with_model(model: Predict, x: Array, tau: int, first: int, max_k: int) -> Forecasts:
    """Forecast a series x (T,) one step, many steps, and up to max_k steps ahead.

    Args:
        model: maps windows (…, tau) to predictions (…, 1).
        x: the series.
        tau: number of past observations in a window.
        first: index of the first value after the training data.
        max_k: the longest horizon.

    Returns:
        By label, the index of x where the predictions begin, and these up to the end of x. `1 step` begins at tau
        and is made from true observations, `multistep` begins at `first` and is made from x[:first] alone, and
        `k = 1` … `k = <max_k>` are made k steps ahead, the earliest from x[:first].

    Raises:
        UserError: there are fewer than max_k values from `first` on, or predictions grow without bound.
    """
    series, forecast = x[None], fed_back(model, tau)
    k_steps = backtest(lambda past: forecast, series, first, max_k).predictions[0]  # (num_origins, max_k)
    one_step = forecast(series, np.arange(tau, len(x)), 1)[0, :, 0]
    multistep = forecast(series, np.array([first]), len(x) - first)[0, 0]
    everything = np.concatenate([one_step, multistep, k_steps.ravel()])
    if not (np.abs(everything) < _LARGEST).all():
        raise UserError(
            "the predictions grow without bound when they are fed back; lower lr, or set standardize: true"
        )
    ahead = {f"k = {k}": (first + k - 1, k_steps[: len(k_steps) - k + 1, k - 1]) for k in range(1, max_k + 1)}
    return {"1 step": (tau, one_step), "multistep": (first, multistep), **ahead}


def one_step_model(model: nn.Module) -> Predict:
    """Return a module on the CPU as a function from windows (…, tau) to predictions (…, 1), in float64 arrays."""

    @torch.inference_mode()
    def predict(windows: Array) -> Array:
        X = torch.tensor(windows.reshape(-1, windows.shape[-1]), dtype=torch.float32)
        predicted: Tensor = model(X)[0]
        return predicted.numpy().astype(np.float64).reshape(*windows.shape[:-1], 1)

    return predict


def rmse(errors: Array) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean(errors**2)))


def mae(errors: Array) -> float:
    """Return the mean absolute error."""
    return float(np.mean(np.abs(errors)))


def model_errors(forecasts: Forecasts, x: Array, ks: Sequence[int]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Measure the forecasts of `forecast_with_model` on the values of x after the training data.

    Returns:
        RMSE and MAE of the one-step and multistep forecasts and of those k steps ahead for each of ks; and `rmse`
        and `mae` (max_k,) for every k from 1 on.
    """
    first, _ = forecasts["multistep"]
    errors = [values[max(first - begin, 0) :] - x[max(first, begin) :] for begin, values in forecasts.values()]
    report: dict[str, Any] = {}
    by_horizon = {}
    for name, size in (("rmse", rmse), ("mae", mae)):
        one_step, multistep, *k_steps = map(size, errors)
        by_horizon[name] = np.array(k_steps)
        report |= {f"one_step_{name}": one_step, f"multistep_{name}": multistep}
        report[f"k_step_{name}"] = at_horizons(by_horizon[name], ks)
    return report, by_horizon
