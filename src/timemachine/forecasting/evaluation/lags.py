"""How many past observations a linear forecast needs: error against the embedding dimension τ."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from timemachine.forecasting.models.regression import Problem, affine, ridge
from timemachine.forecasting.series.config import SeriesParams
from timemachine.forecasting.series.source import Series, noisy_sine, replicas
from timemachine.forecasting.strategies.candidates import CLOSED_FORM, Choice, Lags
from timemachine.plots.forecasting import draw_by_lags

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params

Array = NDArray[np.float64]


def choice_of(p: "Params") -> Choice:
    """Return how the params want choices to be made, on the observed part alone."""
    b, c = p.backtest, p.choose_tau
    return Choice(b.first_validation, b.horizon, b.num_folds, c.taus, c.penalties, b.max_harmonics)


def noise_floor(p: SeriesParams) -> dict[str, float]:
    """Return the error below which no forecast can be, where it is known, by its label."""
    return {"noise": p.noise_std} if p.csv is None and p.noise_std else {}


def study(p: "Params", series: Series) -> dict[str, Any]:
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


def draw(report: Mapping[str, Any], horizon: int, levels: Mapping[str, float]) -> Figure:
    """Draw what `study` returned, and where there is noise, dashed lines at labelled levels."""
    panels = {}
    for noise, at in (("with_noise", levels), ("without_noise", {})):
        if noise in report:
            curves = {
                f"{model.replace('_', ' ')}, {steps}": _curve(report[noise][model][key])
                for key, steps in (("one_step_rmse", "1 step"), ("rmse", f"1 … {horizon} steps"))
                for model in (CLOSED_FORM if noise == "with_noise" else CLOSED_FORM[:1])
            }
            panels[noise.replace("_", " ")] = (curves, at)
    figure = draw_by_lags(panels, "RMSE")
    axis = figure.axes[0].yaxis
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    return figure


def _curve(by_tau: Mapping[str, float | None]) -> tuple[list[int], list[float]]:
    known = {int(tau): error for tau, error in by_tau.items() if error is not None}
    return list(known), list(known.values())
