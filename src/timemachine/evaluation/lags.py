"""How many past observations a linear forecast needs: error against the embedding dimension τ."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine import plots
from timemachine.params import Params
from timemachine.series.candidates import CLOSED_FORM, Choice, Lags
from timemachine.series.regression import Problem, affine, ridge
from timemachine.series.source import Series, noisy_sine, replicas

Array = NDArray[np.float64]


def choice_of(p: Params) -> Choice:
    """Return how the params want choices to be made, on the observed part alone."""
    b, c = p.backtest, p.choose_tau
    return Choice(b.first_validation, b.horizon, b.num_folds, c.taus, c.penalties, b.max_harmonics)


def study(p: Params, series: Series) -> dict[str, Any]:
    """Return errors of recursive linear forecasts by τ over rolling origins of the observed part.

    Args:
        p: the params.
        series: the noisy sine, which is joined by those of the following seeds, or a series of the user's own.

    Returns:
        For least squares and ridge how many series chose which τ, and by τ the RMSE one step ahead and over all
        horizons, means over series. Of the sine the same without noise, and the coefficients with two lags beside
        those of its recurrence x_t = 2 cos(ω) x_{t−1} − x_{t−2}.
    """
    s, num_observed = p.series, p.backtest.num_observed
    choice = choice_of(p)
    report: dict[str, Any] = {
        "with_noise": _errors(choice, replicas(series, s, p.backtest.num_seeds)[:, :num_observed])
    }
    if s.csv is None:
        exact = noisy_sine(s.num_points, s.frequency, 0.0, s.seed).x[None, :num_observed]
        report["without_noise"] = _errors(choice, exact)
        (predict,) = ridge(0)(exact, [Problem(2, (1,))])
        found = affine(predict, 1, 2).weights[0, ::-1, 0]
        report["two_lags"] = {"found": found.tolist(), "exact": [2 * math.cos(s.frequency), -1.0]}
    return report


def _errors(choice: Choice, x: Array) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for model in CLOSED_FORM:
        chosen, scores = choice.choose_lags(x, model)
        _, one_step = replace(choice, horizon=1).choose_lags(x, model)
        found[model] = {
            "chosen": {str(tau): count for tau, count in sorted(Counter(tau for tau, _ in chosen).items())},
            "one_step_rmse": _by_tau(one_step),
            "rmse": _by_tau(scores),
        }
    return found


def _by_tau(scores: Mapping[Lags, Array]) -> dict[str, float | None]:
    """Return the mean score over series, each with the penalty that suits it; None if it is infinite."""
    taus = dict.fromkeys(tau for tau, _ in scores)
    lowest = {tau: np.min([score for (t, _), score in scores.items() if t == tau], axis=0) for tau in taus}
    return {str(tau): float(score.mean()) if np.isfinite(score).all() else None for tau, score in lowest.items()}


def draw(report: Mapping[str, Any], horizon: int) -> Figure:
    """Draw what `study` returned."""
    curves = {}
    for noise, errors in report.items():
        for model in CLOSED_FORM if noise != "two_lags" else ():
            if noise == "with_noise" or model == "least_squares":
                for key, steps in (("one_step_rmse", "1 step"), ("rmse", f"1 … {horizon} steps")):
                    by_tau = {int(tau): error for tau, error in errors[model][key].items() if error is not None}
                    label = f"{model.replace('_', ' ')}, {steps}" + ", no noise" * (noise == "without_noise")
                    curves[label] = ([*by_tau], [*by_tau.values()])
    figure = plots.lines(curves, "embedding dimension τ", "RMSE", logarithmic=("x", "y"))
    figure.axes[0].set_ylim(bottom=_LEAST_DRAWN)
    return figure


# What is below is exact but for rounding.
_LEAST_DRAWN = 0.01
