"""Harmonic regression: a sum of sines of one frequency and its multiples, all fitted to the data.

x_t = c + Σ_{j = 1 … K} a_j cos(jωt) + b_j sin(jωt). The series may be shorter than a period, as in the book: 604
observations of a sine of period 628. The model has no trend; use a strategy with lags for a series with a trend.
"""

import math
from dataclasses import dataclass

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.lag_strategies import FittedForecaster, Forecaster, Origins

Fit = tuple[Array, Array, Array]

# The smallest number of periods in a series; with fewer a sine fits almost any curve.
_LEAST_PERIODS = 0.25
# Up to this number of periods in the series, sines and cosines are far from orthogonal, and the search solves a
# regression for each frequency; above, it uses the periodogram.
_FEW_PERIODS = 3.0
_NUM_FEW = 128
_MOST_NUMBERS = 4_000_000
_NUM_REFINEMENTS = 12
_STRONG_EVIDENCE = 6.0


@dataclass(frozen=True)
class HarmonicTerms:
    """The terms of a harmonic regression.

    Attributes:
        num_harmonics: K.
        intercept: whether c is one of them.
    """

    num_harmonics: int
    intercept: bool

    def basis(self, frequencies: Array, t: Array) -> Array:
        """Return the terms (…, len(t), 2 K + intercept) at frequencies (…), the intercept first."""
        angles = frequencies[..., None, None] * t[:, None] * np.arange(1, self.num_harmonics + 1)
        constant = [np.ones((*angles.shape[:-1], 1))] if self.intercept else []
        return np.concatenate([*constant, np.cos(angles), np.sin(angles)], axis=-1)

    def curve(self, frequencies: Array, t: Array, coefficients: Array) -> Array:
        """Return the curve (…, len(t)) with coefficients (…, 2 K + intercept) in the order of `basis`."""
        return (self.basis(frequencies, t) @ coefficients[..., None])[..., 0]

    def slope(self, frequencies: Array, t: Array, coefficients: Array) -> Array:
        """Return the derivative (…, len(t)) of the curve with respect to the frequency."""
        K = self.num_harmonics
        turns = t[:, None] * np.arange(1, K + 1)
        angles = frequencies[..., None, None] * turns
        a, b = (coefficients[..., None, -2 * K : -K], coefficients[..., None, -K:])
        return (turns * (b * np.cos(angles) - a * np.sin(angles))).sum(-1)


def fit_harmonics(x: Array, terms: HarmonicTerms) -> Fit:
    """Fit these terms and their frequency to series x (num_series, n) by least squares.

    A search over all frequencies from a quarter of a period in the series to π / K finds the smallest sum of
    squares; Gauss–Newton steps refine it. The first observation is at t = 0.

    Args:
        x: at least 2 K + 3 observations each.
        terms: the terms.

    Returns:
        Frequencies ω (num_series,) in radians per step; coefficients (num_series, 2 K + intercept); sums of
        squared residuals (num_series,).
    """
    starts = [start for start in (_few_periods(x, terms), _many_periods(x, terms)) if start is not None]
    fits = [_refined(x, terms, *start) for start in starts]
    frequencies, coefficients, rss = (np.stack(parts) for parts in zip(*fits, strict=True))
    best, rows = rss.argmin(0), np.arange(len(x))
    return frequencies[best, rows], coefficients[best, rows], rss[best, rows]


def harmonic(max_harmonics: int) -> Forecaster:
    """Return the forecaster that extrapolates a harmonic regression of up to `max_harmonics`.

    It uses the fewest parameters whose BIC is at most 6 above the lowest; a larger difference is strong evidence
    (Kass and Raftery, 1995). An extra term changes little within the data and much beyond them.

    The forecast depends on time only: values after those that it was fitted to do not change it.
    """

    def fit(x: Array) -> FittedForecaster:
        n = x.shape[1]
        choices = [
            HarmonicTerms(K, c) for K in range(1, max_harmonics + 1) for c in (False, True) if n >= 2 * K + 3
        ]
        if not choices:
            raise UserError(f"{n} observations are too few for a harmonic regression")
        fits = [(terms, *fit_harmonics(x, terms)) for terms in choices]
        bic = np.stack([_bic(x, coefficients, rss) for _, _, coefficients, rss in fits])
        chosen = np.argmax(bic <= bic.min(0) + _STRONG_EVIDENCE, axis=0)  # ordered by number of parameters

        def forecast(x: Array, origins: Origins, horizon: int) -> Array:
            t = np.arange(origins.min(), origins.max() + horizon, dtype=np.float64)
            curves = [terms.curve(frequencies, t, coefficients) for terms, frequencies, coefficients, _ in fits]
            best = np.stack(curves)[chosen, np.arange(len(x))]  # (num_series, len(t))
            return best[:, (origins - origins.min())[:, None] + np.arange(horizon)]

        return forecast

    return fit


def _bic(x: Array, coefficients: Array, rss: Array) -> Array:
    """Return the Bayesian information criterion (num_series,) of a fit to series x."""
    n = x.shape[1]
    num_parameters = coefficients.shape[1] + 1
    # Residuals below rounding errors count as equal, so that the fewest parameters win.
    rounding = n * (1e-10 * np.abs(x).max(1)) ** 2 + np.finfo(np.float64).tiny
    return n * np.log(np.maximum(rss, rounding) / n) + num_parameters * math.log(n)


def _solve(x: Array, basis: Array) -> tuple[Array, Array]:
    """Return the coefficients (…, p) of x (…, n) on basis (…, n, p), and the residuals (…, n)."""
    Q, R = np.linalg.qr(basis)
    projected = (Q.swapaxes(-1, -2) @ x[..., None])[..., 0]
    diagonal = np.abs(np.diagonal(R, axis1=-2, axis2=-1))
    # Terms that depend linearly on others (a sine at ω = π) are dropped.
    known = diagonal > 1e-9 * diagonal.max(-1, keepdims=True)
    R = np.where(known[..., None] & known[..., None, :], R, np.eye(R.shape[-1]))
    coefficients = np.linalg.solve(R, (projected * known)[..., None])
    # Not computed from Q, whose column for a dropped term is not in the span of the terms.
    return coefficients[..., 0], x - (basis @ coefficients)[..., 0]


def _few_periods(x: Array, terms: HarmonicTerms) -> tuple[Array, Array]:
    """Return the best frequency (num_series,) of at most 3 periods in a series, and the grid spacing there."""
    n = x.shape[1]
    highest = min(2 * np.pi * _FEW_PERIODS / n, np.pi / terms.num_harmonics)
    frequencies = np.geomspace(2 * np.pi * _LEAST_PERIODS / n, highest, _NUM_FEW)
    t = np.arange(n, dtype=np.float64)
    explained = np.empty((len(x), _NUM_FEW))
    block_size = max(1, _MOST_NUMBERS // (n * (2 * terms.num_harmonics + 1)))
    for begin in range(0, _NUM_FEW, block_size):
        block = slice(begin, begin + block_size)
        Q = np.linalg.qr(terms.basis(frequencies[block], t))[0]  # (block, n, p)
        explained[:, block] = np.square(np.einsum("gnp,sn->sgp", Q, x, optimize=True)).sum(-1)
    best = explained.argmax(1)
    return frequencies[best], np.gradient(frequencies)[best]


def _many_periods(x: Array, terms: HarmonicTerms) -> tuple[Array, Array] | None:
    """Return the same for more periods, by the periodogram; None if the series is too short for them."""
    n = x.shape[1]
    length = 8 * n  # padded with zeros: frequencies are 2π / 8n apart
    power = np.square(np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), length)))  # (num_series, length // 2 + 1)
    lowest = math.ceil(_FEW_PERIODS * length / n)
    candidates = np.arange(lowest, (power.shape[1] - 1) // terms.num_harmonics + 1)
    if not len(candidates):
        return None
    explained = sum(power[:, j * candidates] for j in range(1, terms.num_harmonics + 1))
    step = 2 * np.pi / length
    return candidates[np.argmax(explained, axis=1)] * step, np.full(len(x), step)


def _refined(x: Array, terms: HarmonicTerms, frequencies: Array, spacing: Array) -> Fit:
    """Return the least-squares fit at most two spacings from the given frequencies (num_series,)."""
    n = x.shape[1]
    t = np.arange(n, dtype=np.float64)
    low = np.maximum(frequencies - 2 * spacing, 2 * np.pi * _LEAST_PERIODS / n)
    high = np.minimum(frequencies + 2 * spacing, np.pi / terms.num_harmonics)
    frequencies = frequencies.copy()
    basis = terms.basis(frequencies, t)
    coefficients, residual = _solve(x, basis)
    step = np.ones(len(x))
    for _ in range(_NUM_REFINEMENTS):
        slope = terms.slope(frequencies, t, coefficients)
        # Scaled to the size of the other terms; in the unit of the series it could be negligible beside them.
        size = np.abs(slope).max(1)
        size = np.where(size > 0, size, 1.0)
        direction = _solve(residual, np.concatenate([basis, (slope / size[:, None])[..., None]], axis=-1))[0]
        tried = np.clip(frequencies + step * direction[:, -1] / size, low, high)
        new_basis = terms.basis(tried, t)
        found = (tried, new_basis, *_solve(x, new_basis))
        better = np.square(found[-1]).sum(1) < np.square(residual).sum(1)
        for kept, new in zip((frequencies, basis, coefficients, residual), found, strict=True):
            kept[better] = new[better]
        step = np.where(better, 1.0, step / 2)
    return frequencies, coefficients, np.square(residual).sum(1)
