"""Exponential smoothing and the theta method, at every origin of a series in one pass.

Smoothing parameters are taken from a grid. All points of the grid are filtered side by side, and each origin has
the parameters with the smallest sum of squared one-step errors before it. Nothing is fitted again between origins,
and no forecast uses a value from its origin on.

Sources: Hyndman et al., 2008, Forecasting with exponential smoothing; Assimakopoulos and Nikolopoulos, 2000, The
theta model; Hyndman and Billah, 2003, Unmasking the theta method.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, Origins

_LEVEL = (0.02, 0.06, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8, 0.999)
_TREND = (0.0, 0.02, 0.06, 0.15, 0.4)
_DAMPING = (0.8, 0.9, 0.96, 1.0)
_SEASON = (0.0, 0.03, 0.1, 0.25, 0.5)
# A regression on the first values gives the initial state: on so many periods, or points if there is no season.
_INITIAL_PERIODS, _INITIAL_POINTS = 5, 10


@dataclass(frozen=True)
class Components:
    """The components of exponential smoothing.

    Attributes:
        period: steps of a season; 1 for none.
        trend: whether there is a damped trend. Damping of 1, a trend without end, is in the grid.
        multiplicative: whether the season is a factor, not a summand.
    """

    period: int = 1
    trend: bool = False
    multiplicative: bool = False

    def grid(self) -> tuple[Array, Array, Array, Array]:
        """Return α, β/α, φ and γ/(1 − α) of all points of the grid, each (num_points,)."""
        trend = (_TREND, _DAMPING) if self.trend else ((0.0,), (0.0,))
        grid = np.array(list(product(_LEVEL, *trend, _SEASON if self.period > 1 else (0.0,))))
        return grid[:, 0], grid[:, 1], grid[:, 2], grid[:, 3]


def exponential_smoothing(components: Components) -> Forecaster:
    """Return the forecaster of exponential smoothing with these components.

    The initial state is fitted to the values that the forecaster is fitted to. A multiplicative season needs
    positive values.
    """
    return partial(_fit, components, drifting=False)


def theta(period: int = 1, multiplicative: bool = False) -> Forecaster:
    """Return the forecaster of the theta method: simple exponential smoothing that rises by half the slope.

    The slope is that of the regression on time of all known values, or of their means over a period.
    """
    return partial(_fit, Components(period, multiplicative=multiplicative), drifting=True)


def _fit(components: Components, x: Array, *, drifting: bool) -> FittedForecaster:
    states = [initial_state(one, components.period, components.multiplicative) for one in x]

    def forecast(x: Array, origins: Origins, horizon: int) -> Array:
        known = x[:, : origins.max()]
        return np.stack(
            [_forecast(components, *pair, origins, horizon, drifting) for pair in zip(known, states, strict=True)]
        )

    return forecast


State = tuple[float, float, Array]


def initial_state(x: Array, period: int, multiplicative: bool) -> State:
    """Return level and slope before the first of the values x (n,), and a season (period,) with the mean 0 or 1.

    The state comes from a regression of the first values on time and, if there is a period, on the place in it.
    """
    n = min(len(x), _INITIAL_PERIODS * period if period > 1 else _INITIAL_POINTS)
    time = np.arange(n) - (n - 1) / 2
    place = np.arange(n) % period
    regressors = np.concatenate([place[:, None] == np.arange(period), time[:, None]], axis=1)
    coefficients = np.linalg.lstsq(regressors, x[:n])[0]
    means, slope = coefficients[:-1], float(coefficients[-1])
    level = float(means.mean())
    season = means - level
    if multiplicative:
        trend = np.maximum(level + slope * time, 0.1 * level)
        season = np.bincount(place, x[:n] / trend, period) / np.maximum(np.bincount(place, minlength=period), 1)
        season = season / season.mean()
    return level - slope * (n + 1) / 2, slope, season


def _forecast(
    components: Components, x: Array, state: State, origins: Origins, horizon: int, drifting: bool
) -> Array:
    """Return forecasts (num_origins, horizon) of one series x (n,) that ends at the last origin."""
    level, trend, season, errors = _filter(components, x, state)
    # The errors of the first period depend on the initial state alone.
    squares = np.where(np.isfinite(errors), np.minimum(np.abs(errors), 1e100), 1e100) ** 2
    squares[: max(components.period, 2)] = 0
    sums = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, axis=0)])
    best = sums[origins].argmin(axis=1)  # (num_origins,)
    ahead = np.arange(1, horizon + 1)
    alpha, _, phi, _ = (values[best, None] for values in components.grid())
    path = level[origins, best][:, None] + np.cumsum(phi**ahead, axis=1) * trend[origins, best][:, None]
    if drifting:
        start = (1 - (1 - alpha) ** origins[:, None]) / alpha
        path = path + _slopes(x, components.period)[origins][:, None] / 2 * (ahead - 1 + start)
    seasonal = season[origins[:, None] + (ahead - 1) % components.period, best[:, None]]
    return path * seasonal if components.multiplicative else path + seasonal


def _filter(components: Components, x: Array, state: State) -> tuple[Array, Array, Array, Array]:
    """Filter a series x (n,) with all points of the grid.

    Returns:
        Level and trend (n + 1, num_points), season (n + period, num_points) and one-step errors (n, num_points).

    Row t of level and trend is the state before x_t is known; row t of season is the season that holds for x_t.
    """
    alpha, beta, phi, gamma = components.grid()
    beta, gamma = alpha * beta, gamma * (1 - alpha)
    n, num_points = len(x), len(alpha)
    level, trend, errors = np.empty((n + 1, num_points)), np.zeros((n + 1, num_points)), np.empty((n, num_points))
    season = np.empty((n + components.period, num_points))
    season[: components.period] = state[2][:, None]
    level[0] = state[0] if components.trend else state[0] + state[1] * (components.period + 1) / 2
    if components.trend:
        trend[0] = state[1]
    with np.errstate(all="ignore"):
        for t, value in enumerate(x):
            damped = phi * trend[t]
            base, seasonal = level[t] + damped, season[t]
            if components.multiplicative:
                errors[t] = value - base * seasonal
                surprise = errors[t] / seasonal
                season[t + components.period] = seasonal + gamma * errors[t] / base
            else:
                errors[t] = surprise = value - base - seasonal
                season[t + components.period] = seasonal + gamma * surprise
            level[t + 1] = base + alpha * surprise
            if components.trend:
                trend[t + 1] = damped + beta * surprise
    return level, trend, season, errors


def _slopes(x: Array, period: int) -> Array:
    """Return the slopes of regressions of x[:t] on time, t = 0 … n: (n + 1,); 0 with fewer than 3 values.

    A season is removed by the means over a period, of which there is one for each end of a period.
    """
    sums = np.cumsum(np.concatenate([[0.0], x]))
    means = (sums[period:] - sums[:-period]) / period
    n, time = np.arange(1, len(means) + 1), np.arange(len(means))
    slopes = np.zeros(len(x) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The mean of time is (n − 1) / 2, the sum of its squared deviations n (n² − 1) / 12.
        centred = np.cumsum(time * means) - (n - 1) / 2 * np.cumsum(means)
        slopes[period:] = np.where(n >= 3, 12 * centred / (n * (n.astype(np.float64) ** 2 - 1)), 0.0)
    return slopes
