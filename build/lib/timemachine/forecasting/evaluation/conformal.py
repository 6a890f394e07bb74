"""Prediction intervals by horizon from the errors of past forecasts (split conformal prediction).

The half width of the interval of level p around a forecast k steps ahead is the ⌈(m + 1) p⌉-th smallest absolute
error of m earlier forecasts k steps ahead whose true values are known when the forecast is made. If the errors are
exchangeable, the interval contains the true value with probability p or a little more. Source: Papadopoulos et
al., 2002; Lei et al., 2018.
"""

import math

import numpy as np

from timemachine.forecasting.models.regression import Array


def least_calibration(level: float) -> int:
    """Return how many past errors a finite interval of a level needs."""
    return max(1, math.ceil(level / (1 - level) - 1e-9))


def half_widths(errors: Array, levels: list[float], num_calibration: int) -> Array:
    """Return the half width of the intervals at every origin, from the forecasts before it.

    Args:
        errors: (num_series, num_origins, horizon) of consecutive origins, as `Backtest.errors`.
        levels: for example 0.9.
        num_calibration: m, the number of latest known errors of each horizon that are used; fewer if fewer are
            known.

    Returns:
        (num_series, num_origins + 1, horizon, num_levels); the last origin is the one after all of `errors`.
        Infinite where fewer than `least_calibration` errors are known.
    """
    num_series, num_origins, horizon = errors.shape
    widths = np.full((num_series, num_origins + 1, horizon, len(levels)), np.inf)
    absolute = np.abs(errors)
    # Errors more than num_origins steps ahead are never known.
    for k in range(1, min(horizon, num_origins) + 1):
        # The error of the forecast made at origin o is known at origin o + k.
        known = np.concatenate([np.full((num_series, num_calibration), np.inf), absolute[:, :, k - 1]], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(known, num_calibration, axis=1)
        windows = windows[:, : num_origins + 2 - k]  # (num_series, origins from k − 1 on, num_calibration)
        ordered = np.sort(windows, axis=2)  # unknown errors last
        num_known = np.minimum(np.arange(ordered.shape[1]), num_calibration)
        for i, level in enumerate(levels):
            rank = np.maximum(1, np.ceil((num_known + 1) * level - 1e-9).astype(int))
            enough = rank <= num_known
            chosen = ordered[:, enough, rank[enough] - 1]
            widths[:, k - 1 :][:, enough, k - 1, i] = chosen
    return widths


def coverage(errors: Array, widths: Array) -> Array:
    """Return the share of true values inside their intervals, by horizon and level.

    Args:
        errors: (num_series, num_origins, horizon); NaN beyond the end of the series.
        widths: (num_series, num_origins, horizon, num_levels) of the same origins.

    Returns:
        (num_series, horizon, num_levels).
    """
    inside = (np.abs(errors)[..., None] <= widths).astype(np.float64)
    return np.nanmean(np.where(np.isnan(errors)[..., None], np.nan, inside), axis=1)
