"""Harmonic regression: a sum of sines of one frequency and its multiples, all found from the data.

x_t = c + Σ_{j = 1 … K} a_j cos(jωt) + b_j sin(jωt). The frequency may be lower than one period per series, which
is the book's case: 604 observations of a sine of period 628. There is no trend: a series with one wants lags.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.forecasting.strategies.strategies import Forecast, Forecaster, Origins

Array = NDArray[np.float64]

# The least part of a period that a series must show; what shows less of it is any curve.
_LEAST_PERIODS = 0.25
# Up to so many periods in the series, sines and cosines are far from orthogonal and the search solves for them;
# beyond, it reads the periodogram.
_FEW_PERIODS = 3.0
_NUM_FEW = 128
_MOST_NUMBERS = 4_000_000
_NUM_REFINEMENTS = 12
_STRONG_EVIDENCE = 6.0


@dataclass(frozen=True)
class Shape:
    """Which terms a harmonic regression has.

    Attributes:
        num_harmonics: K.
        intercept: whether there is a c.
    """

    num_harmonics: int
    intercept: bool

    def basis(self, frequencies: Array, t: Array) -> Array:
        """Return the terms (…, len(t), 2 K + intercept) at frequencies (…), the intercept first."""
        angles = frequencies[..., None, None] * t[:, None] * np.arange(1, self.num_harmonics + 1)
        constant = [np.ones((*angles.shape[:-1], 1))] if self.intercept else []
        return np.concatenate([*constant, np.cos(angles), np.sin(angles)], axis=-1)

    def slope(self, frequencies: Array, t: Array, coefficients: Array) -> Array:
        """Return the derivative (…, len(t)) of the curve by the frequency."""
        K = self.num_harmonics
        turns = t[:, None] * np.arange(1, K + 1)
        angles = frequencies[..., None, None] * turns
        a, b = (coefficients[..., None, -2 * K : -K], coefficients[..., None, -K:])
        return (turns * (b * np.cos(angles) - a * np.sin(angles))).sum(-1)


@dataclass(frozen=True)
class Fit:
    """A harmonic regression fitted to series.

    Attributes:
        shape: its terms.
        frequencies: ω (num_series,), radians per step.
        coefficients: (num_series, 2 K + intercept) in the order of `Shape.basis`.
        rss: (num_series,) sums of squared residuals.
    """

    shape: Shape
    frequencies: Array
    coefficients: Array
    rss: Array

    def curve(self, t: Array) -> Array:
        """Return the curves (num_series, len(t)) at indices t, 0 the first observation."""
        return (self.shape.basis(self.frequencies, t) @ self.coefficients[..., None])[..., 0]

    def bic(self, x: Array) -> Array:
        """Return the Bayesian information criterion (num_series,) for the series x it was fitted to."""
        n = x.shape[1]
        num_parameters = self.coefficients.shape[1] + 1
        # Residuals below rounding are all the same, so that fewer parameters win.
        rounding = n * (1e-10 * np.abs(x).max(1)) ** 2 + np.finfo(np.float64).tiny
        return n * np.log(np.maximum(self.rss, rounding) / n) + num_parameters * math.log(n)


def fit_harmonics(x: Array, shape: Shape) -> Fit:
    """Fit one shape to series x (num_series, n) by least squares, frequency included.

    The sum of squares is searched over all frequencies from a quarter period in the series to π / K, and the best
    of them refined by Gauss–Newton steps.

    Raises:
        UserError: n is not above the number of parameters.
    """
    n = x.shape[1]
    if n < 2 * shape.num_harmonics + 3:
        raise UserError(f"{n} observations are too few for {shape.num_harmonics} harmonics")
    starts = [start for start in (_few_periods(x, shape), _many_periods(x, shape)) if start is not None]
    fits = [_refined(x, shape, *start) for start in starts]
    best = np.argmin([fit.rss for fit in fits], axis=0)
    rows = np.arange(len(x))

    def pick(name: str) -> Array:
        return np.stack([getattr(fit, name) for fit in fits])[best, rows]

    return Fit(shape, pick("frequencies"), pick("coefficients"), pick("rss"))


def harmonic(max_harmonics: int) -> Forecaster:
    """Return the forecaster that goes on with a harmonic regression of up to `max_harmonics`.

    Of all shapes it takes the one with fewest parameters against which no other has strong evidence, a BIC lower
    by more than 6 (Kass and Raftery, 1995). A term too many does little within the data and much beyond them.

    It is a function of time alone: values that a forecast knows beyond those it was fitted to do not change it.
    """

    def fit(x: Array) -> Forecast:
        n = x.shape[1]
        shapes = [Shape(K, c) for K in range(1, max_harmonics + 1) for c in (False, True) if n >= 2 * K + 3]
        if not shapes:
            raise UserError(f"{n} observations are too few for a harmonic regression")
        fits = [fit_harmonics(x, shape) for shape in shapes]
        bic = np.stack([one.bic(x) for one in fits])
        chosen = np.argmax(bic <= bic.min(0) + _STRONG_EVIDENCE, axis=0)  # shapes stand by number of parameters

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            t = np.arange(origins.min(), origins.max() + horizon)
            curves = np.stack([one.curve(t.astype(np.float64)) for one in fits])[chosen, np.arange(len(x))]
            return curves[:, (origins - origins.min())[:, None] + np.arange(horizon)]

        return forecast

    return fit


def _solve(x: Array, basis: Array) -> tuple[Array, Array]:
    """Return the coefficients (…, p) of x (…, n) on basis (…, n, p), and sums of squared residuals (…)."""
    Q, R = np.linalg.qr(basis)
    projected = (Q.swapaxes(-1, -2) @ x[..., None])[..., 0]
    diagonal = np.abs(np.diagonal(R, axis1=-2, axis2=-1))
    # Terms that are others over again (a sine at ω = π) are dropped.
    known = diagonal > 1e-9 * diagonal.max(-1, keepdims=True)
    R = np.where(known[..., None] & known[..., None, :], R, np.eye(R.shape[-1]))
    coefficients = np.linalg.solve(R, (projected * known)[..., None])
    # Not from Q: in the place of a dropped term it has a direction that no term has.
    residual = x - (basis @ coefficients)[..., 0]
    return coefficients[..., 0], np.square(residual).sum(-1)


def _blocks(num_items: int, size: int) -> Iterator[slice]:
    """Yield slices of items of so many numbers each that a block stays small in memory."""
    step = max(1, _MOST_NUMBERS // size)
    for begin in range(0, num_items, step):
        yield slice(begin, begin + step)


def _few_periods(x: Array, shape: Shape) -> tuple[Array, Array]:
    """Return the best frequency (num_series,) of at most a few periods in a series, and the spacing there."""
    n = x.shape[1]
    highest = min(2 * np.pi * _FEW_PERIODS / n, np.pi / shape.num_harmonics)
    frequencies = np.geomspace(2 * np.pi * _LEAST_PERIODS / n, highest, _NUM_FEW)
    t = np.arange(n, dtype=np.float64)
    explained = np.empty((len(x), _NUM_FEW))
    for block in _blocks(_NUM_FEW, n * (2 * shape.num_harmonics + 1)):
        Q = np.linalg.qr(shape.basis(frequencies[block], t))[0]  # (block, n, p)
        explained[:, block] = np.square(np.einsum("gnp,sn->sgp", Q, x, optimize=True)).sum(-1)
    best = explained.argmax(1)
    return frequencies[best], np.gradient(frequencies)[best]


def _many_periods(x: Array, shape: Shape) -> tuple[Array, Array] | None:
    """Return the same for more periods, by the periodogram; None where a series is too short for them."""
    n = x.shape[1]
    length = 8 * n  # zeros behind the series: frequencies an eighth of 2π/n apart
    power = np.square(np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), length)))  # (num_series, length // 2 + 1)
    lowest = math.ceil(_FEW_PERIODS * length / n)
    candidates = np.arange(lowest, (power.shape[1] - 1) // shape.num_harmonics + 1)
    if not len(candidates):
        return None
    explained = sum(power[:, j * candidates] for j in range(1, shape.num_harmonics + 1))
    step = 2 * np.pi / length
    return candidates[np.argmax(explained, axis=1)] * step, np.full(len(x), step)


def _refined(x: Array, shape: Shape, frequencies: Array, spacing: Array) -> Fit:
    """Return the fit of least squares near the given frequencies (num_series,), at most two spacings from them."""
    n = x.shape[1]
    t = np.arange(n, dtype=np.float64)
    low = np.maximum(frequencies - 2 * spacing, 2 * np.pi * _LEAST_PERIODS / n)
    high = np.minimum(frequencies + 2 * spacing, np.pi / shape.num_harmonics)
    basis = shape.basis(frequencies, t)
    coefficients, rss = _solve(x, basis)
    step = np.ones(len(x))
    for _ in range(_NUM_REFINEMENTS):
        slope = shape.slope(frequencies, t, coefficients)
        residual = x - (basis @ coefficients[..., None])[..., 0]
        # Of the size of the other terms, which a slope in the unit of the series might be nothing beside.
        size = np.abs(slope).max(1)
        size = np.where(size > 0, size, 1.0)
        direction = _solve(residual, np.concatenate([basis, (slope / size[:, None])[..., None]], axis=-1))[0]
        tried = np.clip(frequencies + step * direction[:, -1] / size, low, high)
        new_basis = shape.basis(tried, t)
        new_coefficients, new_rss = _solve(x, new_basis)
        better = new_rss < rss
        frequencies = np.where(better, tried, frequencies)
        basis = np.where(better[:, None, None], new_basis, basis)
        coefficients = np.where(better[:, None], new_coefficients, coefficients)
        rss = np.where(better, new_rss, rss)
        step = np.where(better, 1.0, step / 2)
    return Fit(shape, frequencies, coefficients, rss)
