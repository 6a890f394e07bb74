"""The growth of the error of a recursive forecast by the horizon: measured, and predicted in two ways.

The book's prediction: each step adds an error ε̄ to a part c of the error before, ε_{k+1} = ε̄ + c ε_k. The
model's prediction: if an autoregression x_t = b + Σ w_j x_{t−j} + e_t, where e has standard deviation σ, is true,
then the error k steps ahead has the variance σ² Σ_{i<k} ψ_i²; ψ is the impulse response, ψ_0 = 1, ψ_i = Σ_j w_j
ψ_{i−j}.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Affine, Array, Problem, Regressor, affine, ridge
from timemachine.forecasting.strategies.backtest import backtest
from timemachine.forecasting.strategies.candidates import Choice
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.lag_strategies import recursive
from timemachine.forecasting.training.side_by_side import trained_regressor


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
        """Fit ε̄ ≥ 0 and c to errors (horizon,) of 1, 2, … steps by least squares; at least 3 errors.

        ε̄ and c are NaN if an error is not finite.
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
        weights: (num_series, tau); the first belongs to the oldest observation, as in feature vectors.
        intercept: (num_series,).
        noise_std: (num_series,) standard deviation of the one-step errors.
    """

    weights: Array
    intercept: Array
    noise_std: Array

    @classmethod
    def fitted(cls, model: Affine, X: Array, Y: Array) -> "Autoregression":
        """Return the autoregressions of a model of features (num_series, n, tau) and labels (num_series, n, 1).

        The noise variance is the sum of squared residuals divided by n − τ − 1, because residuals of the data that
        a model was fitted to are smaller than its errors on other data.
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
        """Return the standard deviation of the error 1 … horizon steps ahead if the model is true."""
        return self.noise_std[:, None] * np.sqrt(np.cumsum(np.square(self.impulse_response(horizon)), axis=1))

    def largest_root(self) -> Array:
        """Return the modulus (num_series,) of the largest root, NaN where a weight is not finite.

        If it is below 1, forecasts decay to `fixed_point`.
        """
        num_series, tau = self.weights.shape
        known = np.isfinite(self.weights).all(1)
        companion = np.zeros((num_series, tau, tau))
        companion[:, np.arange(tau - 1), np.arange(1, tau)] = 1
        companion[known, -1] = self.weights[known]
        return np.where(known, np.abs(np.linalg.eigvals(companion)).max(1), np.nan)

    def fixed_point(self) -> Array:
        """Return the value (num_series,) that is forecast from itself; not finite where the weights sum to 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.intercept / (1 - self.weights.sum(1))


@dataclass(frozen=True)
class ErrorGrowth:
    """Measured and predicted growth of the error of a recursive linear forecast, means over series.

    Attributes:
        measured: (horizon,) RMSE.
        recursion: the book's, fitted to the first quarter of `measured`.
        expected: (horizon,) standard deviation of the error if the fitted coefficients are true.
        largest_root: modulus of the largest root.
        fixed_point: median over series of the fixed point.
    """

    measured: Array
    recursion: Recursion
    expected: Array
    largest_root: float
    fixed_point: float

    def curves(self) -> dict[str, list[float | None]]:
        """Return all three curves over the horizon; values that are not finite are None."""
        recursion = self.recursion.by_horizon(len(self.measured))
        curves = {"measured": self.measured, "recursion": recursion, "autoregression": self.expected}
        return {name: [finite(value) for value in curve] for name, curve in curves.items()}

    def summary(self, ks: Sequence[int]) -> dict[str, Any]:
        """Return all numbers, and the curves at the horizons `ks`."""
        return {
            "largest_root": finite(self.largest_root),
            "fixed_point": finite(self.fixed_point),
            "added": finite(self.recursion.added),
            "carried": finite(self.recursion.carried),
            **{name: {str(k): curve[k - 1] for k in ks} for name, curve in self.curves().items()},
        }


def finite(value: np.floating[Any] | float) -> float | None:
    """Return the value, or None if it is not finite, as the error of a forecast that grew without bound."""
    return float(value) if math.isfinite(value) else None


def measure_growth(regress: Regressor, tau: int, x: Array, p: BacktestParams) -> ErrorGrowth:
    """Measure and predict the growth of the error of a linear regressor's recursive forecasts."""
    observed = x[:, : p.num_observed]
    problem = Problem(tau, (1,))
    (predict,) = regress(observed, [problem])
    model = Autoregression.fitted(affine(predict, len(x), tau), *problem.pairs(observed))
    measured = backtest(recursive(regress, tau), x, p.num_observed, p.horizon).rmse().mean(0)
    return ErrorGrowth(
        measured,
        Recursion.fitted(measured[: max(3, p.horizon // 4)]),
        model.by_horizon(p.horizon).mean(0),
        float(model.largest_root().mean()),
        float(np.median(model.fixed_point())),
    )


def measure_all_growths(
    x: Array, p: BacktestParams, choose_tau: ChooseTauParams, recipes: Mapping[str, ArRecipe]
) -> dict[str, ErrorGrowth]:
    """Measure the growth of errors of linear models, trained and in closed form.

    Args:
        x: (num_series, T).
        p: the rolling origins, and the names of trained models.
        choose_tau: gives the largest τ of the models in closed form.
        recipes: entries of `train_ar`.

    Returns:
        By name: the trained linear models, and least squares with each τ of these and with the largest τ.
    """
    linear = {name: recipes[name] for name in p.trained if recipes[name].model == "linear"}
    found = {name: measure_growth(trained_regressor(one), one.tau, x, p) for name, one in linear.items()}
    taus = {one.tau for one in linear.values()} | {max(tau for tau, _ in Choice.of(p, choose_tau).lags("ridge"))}
    return found | {f"least_squares_{tau}": measure_growth(ridge(0), tau, x, p) for tau in sorted(taus)}


def growth_rows(growths: Mapping[str, ErrorGrowth]) -> list[dict[str, object]]:
    """Return a row of the three curves for each model and horizon; values that are not finite are empty."""
    rows: list[dict[str, object]] = []
    for name, growth in growths.items():
        curves = growth.curves()
        for k, values in enumerate(zip(*curves.values(), strict=True), 1):
            texts = ["" if value is None else value for value in values]
            rows.append({"model": name, "k": k, **dict(zip(curves, texts, strict=True))})
    return rows
