"""How the error of a recursive forecast grows: two predictions to hold beside what is measured.

The book's: each step adds an error ε̄ of its own to a part c of the one before, ε_{k+1} = ε̄ + c ε_k. The model's
own: if an autoregression x_t = b + Σ w_j x_{t−j} + e_t with e of standard deviation σ were true, the error k steps
ahead would have the variance σ² Σ_{i<k} ψ_i², where ψ is the response to an impulse, ψ_0 = 1, ψ_i = Σ_j w_j
ψ_{i−j}.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timemachine.forecasting.models.regression import Affine

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recursion:
    """ε_{k+1} = ε̄ + c ε_k.

    Attributes:
        first: ε_1.
        added: ε̄.
        carried: c.
    """

    first: float
    added: float
    carried: float

    @classmethod
    def fitted(cls, errors: Array) -> "Recursion":
        """Return the recursion of least squares, ε̄ ≥ 0, through errors (horizon,) of 1, 2, … steps, at least 3.

        Errors without bound have none: its ε̄ and c are NaN.
        """
        if not np.isfinite(errors).all():
            return cls(float(errors[0]), math.nan, math.nan)
        before, after = errors[:-1], errors[1:]
        added, carried = np.linalg.lstsq(np.stack([np.ones(len(before)), before], axis=1), after)[0]
        if added < 0:
            added, carried = 0.0, (before @ after) / (before @ before)
        return cls(float(errors[0]), float(added), float(carried))

    def by_horizon(self, horizon: int) -> Array:
        """Return ε_1 … ε_horizon: (horizon,)."""
        errors = [self.first]
        for _ in range(horizon - 1):
            errors.append(self.added + self.carried * errors[-1])
        return np.array(errors)


@dataclass(frozen=True)
class Autoregression:
    """Linear autoregressions, one for each series.

    Attributes:
        weights: (num_series, tau), the oldest observation first, as in feature vectors.
        intercept: (num_series,).
        noise_std: (num_series,) standard deviation of the one-step errors.
    """

    weights: Array
    intercept: Array
    noise_std: Array

    @classmethod
    def fitted(cls, model: Affine, X: Array, Y: Array) -> "Autoregression":
        """Return models fitted to features (num_series, n, tau) and labels (num_series, n, 1).

        Their errors there are smaller than elsewhere: of n squares they share out what n − τ − 1 would make.
        """
        _, num_pairs, tau = X.shape
        squares = np.square(Y - model(X)).sum((1, 2)) / max(num_pairs - tau - 1, 1)
        return cls(model.weights[..., 0], model.intercept[:, 0, 0], np.sqrt(squares))

    def impulse_response(self, num_steps: int) -> Array:
        """Return ψ_0 … ψ_{num_steps − 1}: (num_series, num_steps)."""
        num_series, tau = self.weights.shape
        response = np.zeros((num_series, tau + num_steps))
        response[:, tau] = 1
        for i in range(tau + 1, tau + num_steps):
            response[:, i] = (response[:, i - tau : i] * self.weights).sum(1)
        return response[:, tau:]

    def by_horizon(self, horizon: int) -> Array:
        """Return the standard deviation of the error 1 … horizon steps ahead, were the model true."""
        return self.noise_std[:, None] * np.sqrt(np.cumsum(np.square(self.impulse_response(horizon)), axis=1))

    def largest_root(self) -> Array:
        """Return the modulus (num_series,) of the largest root: below 1 forecasts decay to `fixed_point`.

        It is NaN where a weight is not finite.
        """
        num_series, tau = self.weights.shape
        known = np.isfinite(self.weights).all(1)
        companion = np.zeros((num_series, tau, tau))
        companion[:, np.arange(tau - 1), np.arange(1, tau)] = 1
        companion[known, -1] = self.weights[known]
        return np.where(known, np.abs(np.linalg.eigvals(companion)).max(1), np.nan)

    def fixed_point(self) -> Array:
        """Return the value (num_series,) that forecasts from it stay at; not finite where the weights sum to 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.intercept / (1 - self.weights.sum(1))
