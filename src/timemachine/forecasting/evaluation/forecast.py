"""Forecast errors of an autoregressive model, each prediction at its right time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.strategies.steps import Predict, at_horizon, k_steps, mae, multistep, one_step, rmse
from timemachine.plots.figure import draw_lines
from timemachine.plots.forecasting import draw_time_series

Array = NDArray[np.float64]

# Beyond this a forecast has left every scale on which float32 observations can be squared.
_LARGEST = 1e18


@dataclass(frozen=True)
class Forecast:
    """All forecasts of one model, made from what it was not trained on.

    Attributes:
        first: index of the first value that the model did not observe.
        one_step: (T − tau,) predictions of x[tau:] from true observations.
        multistep: (T − first,) predictions of x[first:] from x[:first] alone.
        k_steps: (T − first, max_k) as `timemachine.forecasting.strategies.steps.k_steps` returns them.
    """

    first: int
    one_step: Array
    multistep: Array
    k_steps: Array


def forecast(predict: Predict, x: Array, tau: int, first: int, max_k: int) -> Forecast:
    """Forecast x[first:] one step, many steps, and up to max_k steps ahead.

    Raises:
        UserError: fewer than max_k values from `first` on, or predictions that grow without bound.
    """
    result = Forecast(
        k_steps=k_steps(predict, x, tau, first, max_k),  # first, because it checks the lengths
        first=first,
        one_step=one_step(predict, x, tau, tau),
        multistep=multistep(predict, x[:first], tau, len(x) - first),
    )
    everything = np.concatenate([result.one_step, result.multistep, result.k_steps.ravel()])
    if not (np.abs(everything) < _LARGEST).all():
        raise UserError(
            "the predictions grow without bound when they are fed back; lower lr, or set standardize: true"
        )
    return result


def predictor(model: nn.Module) -> Predict:
    """Return a model on the CPU as a function from features (n, tau) to predictions (n,), in float64 arrays."""

    @torch.inference_mode()
    def predict(features: Array) -> Array:
        predicted: Tensor = model(torch.tensor(features, dtype=torch.float32))[0]
        return predicted[:, 0].numpy().astype(np.float64)

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


def figures(
    series: Series,
    results: Mapping[str, Forecast],
    by_horizon: Mapping[str, Sequence[Mapping[str, float]]],
    ks: Sequence[int],
    noise_std: float | None,
) -> dict[str, Figure]:
    """Draw every model's forecasts, each at the time it is a forecast of.

    Args:
        series: what was forecast.
        results: by model.
        by_horizon: by model, what `error_by_horizon` returned.
        ks: horizons of the k-step figures.
        noise_std: the floor of every error, where it is known.

    Returns:
        `one_step`, `multistep` and `error_by_horizon` of all models, and a `k_step_<model>` for each.
    """
    t, x = series.time, series.x
    data = {"data": (0, x)}
    first = min(r.first for r in results.values())
    one = {f"{name}, 1 step": (len(x) - len(r.one_step), r.one_step) for name, r in results.items()}
    many = {f"{name}, multistep": (r.first, r.multistep) for name, r in results.items()}
    growth = {n: ([row["k"] for row in rows], [row["rmse"] for row in rows]) for n, rows in by_horizon.items()}
    floor = {} if noise_std is None else {"noise": noise_std}
    drawn = {
        "one_step": draw_time_series(t, data | one, first),
        "multistep": draw_time_series(t, data | many, first),
        "error_by_horizon": draw_lines(growth, "steps ahead", "RMSE", floor),
    }
    for name, r in results.items():
        ahead = {f"k = {k}": (r.first + k - 1, at_horizon(r.k_steps, x, r.first, k)[0]) for k in ks}
        drawn[f"k_step_{name}"] = draw_time_series(t, data | ahead, r.first)
    return drawn
