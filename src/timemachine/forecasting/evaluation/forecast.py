"""Forecasts of an autoregressive model, and their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array, Predict
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.lag_strategies import fed_back

# The squares of larger forecasts overflow in float32.
_LARGEST = 1e18


@dataclass(frozen=True)
class ModelForecasts:
    """The forecasts of one model for a series x (T,).

    Attributes:
        one_step: (T − tau,) predictions of x[tau:] from true observations.
        multistep: (T − first,) predictions of x[first:] from x[:first] alone.
        k_steps: forecasts from every origin from `first` on; `first` is the index of the first value after the
            training data.
    """

    one_step: Array
    multistep: Array
    k_steps: Backtest

    def curves(self, ks: Sequence[int]) -> dict[str, tuple[int, Array]]:
        """Return the forecasts by label, each with the index of its first value; of k_steps the horizons `ks`."""
        first, num_ahead = self.k_steps.first, len(self.multistep)
        ahead = {f"k = {k}": (first + k - 1, self.k_steps.predictions[0, : num_ahead - k + 1, k - 1]) for k in ks}
        one_step = (first + num_ahead - len(self.one_step), self.one_step)
        return {"1 step": one_step, "multistep": (first, self.multistep), **ahead}


def forecast_with_model(model: Predict, x: Array, tau: int, first: int, max_k: int) -> ModelForecasts:
    """Forecast x[first:] one step, many steps, and up to max_k steps ahead.

    Raises:
        UserError: there are fewer than max_k values from `first` on, or predictions grow without bound.
    """
    series, forecast = x[None], fed_back(model, tau)
    k_steps = backtest(lambda past: forecast, series, first, max_k)
    one_step = forecast(series, np.arange(tau, len(x)), 1)[0, :, 0]
    multistep = forecast(series, np.array([first]), len(x) - first)[0, 0]
    everything = np.concatenate([one_step, multistep, k_steps.predictions.ravel()])
    if not (np.abs(everything) < _LARGEST).all():
        raise UserError(
            "the predictions grow without bound when they are fed back; lower lr, or set standardize: true"
        )
    return ModelForecasts(one_step, multistep, k_steps)


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


def _at_horizon(result: ModelForecasts, k: int) -> Array:
    errors = result.k_steps.errors[0]
    return errors[: len(errors) - k + 1, k - 1]


def model_errors(result: ModelForecasts, x: Array, ks: Sequence[int]) -> dict[str, Any]:
    """Return RMSE and MAE of the one-step, multistep and k-step forecasts on x[first:].

    k-step errors are over all origins from `first` on whose k-th value is in the series.
    """
    true = x[result.k_steps.first :]
    report: dict[str, Any] = {}
    for name, size in (("rmse", rmse), ("mae", mae)):
        report[f"one_step_{name}"] = size(result.one_step[-len(true) :] - true)
        report[f"multistep_{name}"] = size(result.multistep - true)
        report[f"k_step_{name}"] = {str(k): size(_at_horizon(result, k)) for k in ks}
    return report


def error_by_horizon(result: ModelForecasts) -> list[dict[str, float]]:
    """Return a row of horizon k, RMSE and MAE for every k from 1 on."""
    errors = {k: _at_horizon(result, k) for k in range(1, result.k_steps.errors.shape[2] + 1)}
    return [{"k": k, "rmse": rmse(one), "mae": mae(one)} for k, one in errors.items()]
