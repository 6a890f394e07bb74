"""Forecasts of an autoregressive model, and their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.forecasting.strategies.feedback import (
    OneStepModel,
    at_horizon,
    k_steps,
    mae,
    multistep,
    one_step,
    rmse,
)

Array = NDArray[np.float64]

# The squares of larger forecasts overflow in float32.
_LARGEST = 1e18


@dataclass(frozen=True)
class ModelForecasts:
    """The forecasts of one model.

    Attributes:
        first: index of the first value after the training data.
        one_step: (T − tau,) predictions of x[tau:] from true observations.
        multistep: (T − first,) predictions of x[first:] from x[:first] alone.
        k_steps: (T − first, max_k) as `timemachine.forecasting.strategies.feedback.k_steps` returns them.
    """

    first: int
    one_step: Array
    multistep: Array
    k_steps: Array

    def curves(self, ks: Sequence[int]) -> dict[str, tuple[int, Array]]:
        """Return the forecasts by label, each with the index of its first value; of k_steps the horizons `ks`."""
        num_points = self.first + len(self.multistep)
        ahead = {
            f"k = {k}": (self.first + k - 1, self.k_steps[: num_points - self.first - k + 1, k - 1]) for k in ks
        }
        one_step = (num_points - len(self.one_step), self.one_step)
        return {"1 step": one_step, "multistep": (self.first, self.multistep), **ahead}


def forecast_with_model(model: OneStepModel, x: Array, tau: int, first: int, max_k: int) -> ModelForecasts:
    """Forecast x[first:] one step, many steps, and up to max_k steps ahead.

    Raises:
        UserError: there are fewer than max_k values from `first` on, or predictions grow without bound.
    """
    result = ModelForecasts(
        k_steps=k_steps(model, x, tau, first, max_k),  # first, because it checks the lengths
        first=first,
        one_step=one_step(model, x, tau, tau),
        multistep=multistep(model, x[:first], tau, len(x) - first),
    )
    everything = np.concatenate([result.one_step, result.multistep, result.k_steps.ravel()])
    if not (np.abs(everything) < _LARGEST).all():
        raise UserError(
            "the predictions grow without bound when they are fed back; lower lr, or set standardize: true"
        )
    return result


def one_step_model(model: nn.Module) -> OneStepModel:
    """Return a module on the CPU as a function from features (n, tau) to predictions (n,), in float64 arrays."""

    @torch.inference_mode()
    def predict(features: Array) -> Array:
        predicted: Tensor = model(torch.tensor(features, dtype=torch.float32))[0]
        return predicted[:, 0].numpy().astype(np.float64)

    return predict


def model_errors(result: ModelForecasts, x: Array, horizons: Sequence[int]) -> dict[str, Any]:
    """Return RMSE and MAE of the one-step, multistep and k-step forecasts on x[first:].

    k-step errors are over all origins from `first` on whose k-th value is in the series.
    """
    true = x[result.first :]
    report: dict[str, Any] = {}
    for name, error in (("rmse", rmse), ("mae", mae)):
        report[f"one_step_{name}"] = error(result.one_step[-len(true) :], true)
        report[f"multistep_{name}"] = error(result.multistep, true)
        report[f"k_step_{name}"] = {
            str(k): error(*at_horizon(result.k_steps, x, result.first, k)) for k in horizons
        }
    return report


def error_by_horizon(result: ModelForecasts, x: Array) -> list[dict[str, float]]:
    """Return a row of horizon k, RMSE and MAE for every k from 1 on."""
    rows = []
    for k in range(1, result.k_steps.shape[1] + 1):
        aligned = at_horizon(result.k_steps, x, result.first, k)
        rows.append({"k": k, "rmse": rmse(*aligned), "mae": mae(*aligned)})
    return rows
