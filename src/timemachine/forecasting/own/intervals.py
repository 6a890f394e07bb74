"""Prediction intervals from few errors: conformal by horizon, with the scaled errors of neighbouring horizons.

The error is taken to grow as a power of the horizon, between 0 and 1, which is fitted to the root mean squares. An
error divided by this scale can stand for one of another horizon. The half width of the interval k steps ahead is
the scale there times the ⌈(m + 1) p⌉-th smallest of m scaled absolute errors: those of horizon k and, if they are
fewer than 40, of the horizons nearest to it.
"""

import math

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.conformal import least_calibration
from timemachine.forecasting.models.regression import Array

_NUM_POOLED = 40
# Errors after the end of a series are a little larger than those before it.
_WIDENED = 1.03


def pooled_half_widths(errors: Array, horizon: int, level: float) -> Array:
    """Return the half widths of intervals at all horizons.

    Args:
        errors: (num_origins, num_steps), NaN where unknown; column k − 1 is of forecasts k steps ahead.
        horizon: number of steps; beyond num_steps, the scale grows on by the same power.
        level: for example 0.9.

    Returns:
        (horizon,).

    Raises:
        UserError: all errors are too few for the level.
    """
    absolute = np.abs(errors)
    counts = (~np.isnan(absolute)).sum(axis=0)
    num_steps = int((counts > 0).sum())  # a forecast k steps ahead is known later than one of fewer steps
    absolute, counts = absolute[:, :num_steps], counts[:num_steps]
    needed = least_calibration(level)
    if counts.sum() < needed:
        raise UserError(
            f"intervals of level {level:g} need {needed} errors of past forecasts, but there are only "
            f"{counts.sum()}; lower the level, or omit it"
        )
    scale = _scale(absolute, counts, horizon)
    if scale is None:
        return np.zeros(horizon)
    scaled = absolute / scale[:num_steps]
    widths = np.empty(horizon)
    for k in range(1, horizon + 1):
        nearest = min(k, num_steps)
        reach = 0
        while True:
            columns = slice(max(0, nearest - 1 - reach), nearest + reach)
            if counts[columns].sum() >= max(_NUM_POOLED, needed) or columns.stop - columns.start >= num_steps:
                break
            reach += 1
        pooled = scaled[:, columns]
        pooled = np.sort(pooled[~np.isnan(pooled)])
        rank = min(math.ceil((len(pooled) + 1) * level - 1e-9), len(pooled))
        widths[k - 1] = _WIDENED * scale[k - 1] * pooled[max(rank, 1) - 1]
    return widths


def _scale(absolute: Array, counts: Array, horizon: int) -> Array | None:
    """Return the size of errors at all horizons (horizon,), c · k^g; None if all known errors are 0."""
    sizes = np.sqrt(np.nanmean(np.square(absolute), axis=0))
    largest = float(sizes.max())
    if largest == 0:
        return None
    y = np.log(np.maximum(sizes, 1e-9 * largest))
    x = np.log(np.arange(1, len(y) + 1))
    weights = np.sqrt(counts) / np.sqrt(counts).sum()
    x_mean, y_mean = weights @ x, weights @ y
    spread = weights @ np.square(x - x_mean)
    growth = float(np.clip(weights @ ((x - x_mean) * (y - y_mean)) / spread, 0, 1)) if spread > 0 else 0.5
    scale: Array = np.exp(y_mean + growth * (np.log(np.arange(1, horizon + 1)) - x_mean))
    return scale
