"""The growth of the error of a recursive forecast by the horizon: measured, and predicted in two ways.

The book's prediction: each step adds an error ε̄ to a part c of the error before, ε_{k+1} = ε̄ + c ε_k. The
model's prediction: if an autoregression x_t = b + Σ w_j x_{t−j} + e_t, where e has standard deviation σ, is true,
then the error k steps ahead has the variance σ² Σ_{i<k} ψ_i²; ψ is the impulse response, ψ_0 = 1, ψ_i = Σ_j w_j
ψ_{i−j}.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from timemachine.forecasting.evaluation.tables import finite
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array, Problem, Regressor, affine, ridge
from timemachine.forecasting.strategies.backtest import error_sums
from timemachine.forecasting.strategies.candidates import all_lags
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.lag_strategies import lag_forecaster
from timemachine.forecasting.training.side_by_side import trained_regressor

Growth = tuple[dict[str, float | None], dict[str, Array]]


def fit_recursion(errors: Array) -> tuple[float, float]:
    """Fit ε̄ ≥ 0 and c to errors (horizon,) of 1, 2, … steps by least squares; at least 3 errors.

    Returns:
        ε̄ and c; NaN if an error is not finite.
    """
    if not np.isfinite(errors).all():
        return math.nan, math.nan
    before, after = errors[:-1], errors[1:]
    added, carried = np.linalg.lstsq(np.stack([np.ones(len(before)), before], axis=1), after)[0]
    if added < 0:
        added, carried = 0.0, (before @ after) / (before @ before)
    return float(added), float(carried)


def recursion(first: float, added: float, carried: float, horizon: int) -> Array:
    """Return ε_1 … ε_horizon (horizon,) from ε_1, ε̄ and c."""
    errors = [first]
    for _ in range(horizon - 1):
        errors.append(added + carried * errors[-1])
    return np.array(errors)


def expected_errors(weights: Array, noise_std: Array, horizon: int) -> Array:
    """Return the standard deviation of the error 1 … horizon steps ahead if autoregressions are true.

    Args:
        weights: (num_series, tau); the first belongs to the oldest observation, as in feature vectors.
        noise_std: (num_series,) standard deviation of the one-step errors.
        horizon: number of steps.

    Returns:
        (num_series, horizon).
    """
    num_series, tau = weights.shape
    response = np.zeros((num_series, tau + horizon))  # τ zeros, and ψ_0 …
    response[:, tau] = 1
    for i in range(tau + 1, tau + horizon):
        response[:, i] = (response[:, i - tau : i] * weights).sum(1)
    return noise_std[:, None] * np.sqrt(np.cumsum(np.square(response[:, tau:]), axis=1))


def largest_root(weights: Array) -> Array:
    """Return the modulus (num_series,) of the largest root of autoregressions, NaN where a weight is not finite.

    If it is below 1, forecasts decay to the fixed point. `weights` are those of `expected_errors`.
    """
    num_series, tau = weights.shape
    known = np.isfinite(weights).all(1)
    companion = np.zeros((num_series, tau, tau))
    companion[:, np.arange(tau - 1), np.arange(1, tau)] = 1
    companion[known, -1] = weights[known]
    return np.where(known, np.abs(np.linalg.eigvals(companion)).max(1), np.nan)


def measure_growth(regress: Regressor, tau: int, x: Array, p: BacktestParams) -> Growth:
    """Measure and predict the growth of the error of a linear regressor's recursive forecasts of series x.

    Returns:
        Numbers: `largest_root` (mean over series), `fixed_point`, the value that is forecast from itself (median
        over series), and `added` and `carried` of the recursion fitted to the first quarter of the measured
        errors; None where they are not finite.
        Curves (horizon,): `measured`, the mean RMSE over series; `recursion`; `autoregression`, the error if the
        fitted coefficients are true.
    """
    observed = x[:, : p.num_observed]
    problem = Problem(tau, (1,))
    (predict,) = regress(observed, [problem])
    model = affine(predict, len(x), tau)
    weights = model.weights[..., 0]
    X, Y = problem.pairs(observed)
    # Divided by n − τ − 1, because residuals of data that a model was fitted to are smaller than other errors.
    noise_std = np.sqrt(np.square(Y - model(X)).sum((1, 2)) / max(X.shape[1] - tau - 1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        fixed_point = np.median(model.intercept[:, 0, 0] / (1 - weights.sum(1)))
    measured = error_sums(lag_forecaster("recursive", regress, tau), x, p.num_observed, p.horizon).rmse().mean(0)
    added, carried = fit_recursion(measured[: max(3, p.horizon // 4)])
    curves = {
        "measured": measured,
        "recursion": recursion(float(measured[0]), added, carried, p.horizon),
        "autoregression": expected_errors(weights, noise_std, p.horizon).mean(0),
    }
    numbers = {
        "largest_root": largest_root(weights).mean(),
        "fixed_point": fixed_point,
        "added": added,
        "carried": carried,
    }
    return {name: finite(value) for name, value in numbers.items()}, curves


def measure_all_growths(
    x: Array,
    p: BacktestParams,
    choose_tau: ChooseTauParams,
    recipes: Mapping[str, ArRecipe],
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> dict[str, Growth]:
    """Measure the growth of errors of linear models, trained and in closed form.

    Args:
        x: (num_series, T).
        p: the rolling origins, and the names of trained models.
        choose_tau: gives the largest τ of the models in closed form.
        recipes: entries of `train_ar`.
        show: reports progress: models done, their number, and the name of the present one.

    Returns:
        By name: the trained linear models, and least squares with each τ of these and with the largest τ.
    """
    linear = {name: recipes[name] for name in p.trained if recipes[name].model == "linear"}
    taus = {one.tau for one in linear.values()} | {max(tau for tau, _ in all_lags("ridge", p, choose_tau))}
    models = {name: (trained_regressor(one), one.tau) for name, one in linear.items()}
    models |= {f"least_squares_{tau}": (ridge(0), tau) for tau in sorted(taus)}
    found = dict[str, Growth]()
    for name, (regress, tau) in models.items():
        show(len(found), len(models), f"growths of errors, {name}")
        found[name] = measure_growth(regress, tau, x, p)
    show(len(found), len(models), "growths of errors")
    return found
