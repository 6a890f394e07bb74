"""Forecast errors of an autoregressive model, each prediction at its right time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timemachine.series.forecasting import Predict, at_horizon, k_steps, mae, multistep, one_step, rmse

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Forecast:
    """All forecasts of one model, made from what it was not trained on.

    Attributes:
        first: index of the first value that the model did not observe.
        one_step: (T − tau,) predictions of x[tau:] from true observations.
        multistep: (T − first,) predictions of x[first:] from x[:first] alone.
        k_steps: (T − first, max_k) as `timemachine.series.forecasting.k_steps` returns them.
    """

    first: int
    one_step: Array
    multistep: Array
    k_steps: Array


def forecast(predict: Predict, x: Array, tau: int, first: int, max_k: int) -> Forecast:
    """Forecast x[first:] one step, many steps, and up to max_k steps ahead.

    Raises:
        ValueError: fewer than max_k values from `first` on.
    """
    return Forecast(
        first=first,
        one_step=one_step(predict, x, tau, tau),
        multistep=multistep(predict, x[:first], tau, len(x) - first),
        k_steps=k_steps(predict, x, tau, first, max_k),
    )


def predictor(model: nn.Module) -> Predict:
    """Return a model on the CPU as a function from features (n, tau) to predictions (n,), in float64 arrays."""

    @torch.inference_mode()
    def predict(features: Array) -> Array:
        predicted: Tensor = model(torch.tensor(features, dtype=torch.float32))[0]
        return predicted.numpy().astype(np.float64)

    return predict


def errors(result: Forecast, x: Array, horizons: Sequence[int]) -> dict[str, Any]:
    """Return RMSE and MAE of the one-step, multistep and k-step forecasts on x[first:].

    The k-step forecasts of all origins from `first` on count, as long as a true value is there.
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


def error_by_horizon(result: Forecast, x: Array) -> list[dict[str, float]]:
    """Return rows of horizon k, RMSE and MAE for every k from 1 on."""
    rows = []
    for k in range(1, result.k_steps.shape[1] + 1):
        aligned = at_horizon(result.k_steps, x, result.first, k)
        rows.append({"k": k, "rmse": rmse(*aligned), "mae": mae(*aligned)})
    return rows
