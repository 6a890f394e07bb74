"""How often prediction intervals hold, and how wide they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine.forecasting.evaluation.conformal import coverage, half_widths
from timemachine.forecasting.evaluation.lags import choice_of
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.candidates import candidates
from timemachine.plots.figure import draw_lines, draw_panels
from timemachine.plots.forecasting import draw_fan

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibrated:
    """Forecasts of one strategy from origins of the test, and intervals around them.

    Attributes:
        test: forecasts from num_observed on; the strategy was fitted anew before each fold.
        widths: (num_series, num_origins, horizon, num_levels) half widths, from forecasts before each origin.
        validation: (num_series,) RMSE over the origins before the test.
    """

    test: Backtest
    widths: Array
    validation: Array

    @cached_property
    def coverage(self) -> Array:
        """The share of true values inside, mean over series: (horizon, num_levels)."""
        return coverage(self.test.errors, self.widths).mean(0)

    @cached_property
    def width(self) -> Array:
        """The mean width over series and origins with a true value: (horizon, num_levels)."""
        known = ~np.isnan(self.test.errors)[..., None]
        return 2 * np.where(known, self.widths, 0).sum((0, 1)) / known.sum((0, 1))


def calibrate(p: "Params", x: Array) -> dict[str, Calibrated]:
    """Forecast series x (num_series, T) by all strategies of `intervals`, and put intervals around."""
    b, i = p.backtest, p.intervals
    # As many origins to a fold as where choices are made, from the first of those on.
    num_folds = max(1, round((x.shape[1] - b.first_validation) * b.num_folds / b.num_validation))
    found = candidates(x[:, : b.num_observed], choice_of(p), b.horizon, i.strategies)
    calibrated = {}
    for name in i.strategies:
        whole = backtest(found[name], x, b.first_validation, b.horizon, num_folds)
        widths = half_widths(whole.errors, i.levels, i.num_calibration)[:, b.num_validation : -1]
        validation = whole.until(b.num_observed).score()
        calibrated[name] = Calibrated(whole.since(b.num_observed), widths, validation)
    return calibrated


def preferred(calibrated: Mapping[str, Calibrated]) -> str:
    """Return the strategy that the observed part of the first series prefers."""
    return min(calibrated, key=lambda name: float(calibrated[name].validation[0]))


def report(calibrated: Mapping[str, Calibrated], p: "Params") -> dict[str, Any]:
    """Return coverage and width by strategy and level: over all horizons, and at those of `evaluate_forecast`.

    `largest_miss` is how far coverage is from the level at the worst of all horizons.
    """
    ks = [k for k in p.evaluate_forecast.k_steps if k <= p.backtest.horizon]
    summaries = {name: _summary(one, p.intervals.levels, ks) for name, one in calibrated.items()}
    return {"drawn": preferred(calibrated), "strategies": summaries}


def _summary(one: Calibrated, levels: Sequence[float], ks: Sequence[int]) -> dict[str, Any]:
    covered, width = one.coverage, one.width
    return {
        str(level): {
            "coverage": float(covered[:, j].mean()),
            "largest_miss": float(np.abs(covered[:, j] - level).max()),
            "width": float(width[:, j].mean()),
            "k_step_coverage": {str(k): float(covered[k - 1, j]) for k in ks},
            "k_step_width": {str(k): float(width[k - 1, j]) for k in ks},
        }
        for j, level in enumerate(levels)
    }


def by_horizon(calibrated: Mapping[str, Calibrated], levels: Sequence[float]) -> list[dict[str, object]]:
    """Return a row of coverage and width for each strategy, level and horizon."""
    rows: list[dict[str, object]] = []
    for name, one in calibrated.items():
        covered, width = one.coverage, one.width
        for j, level in enumerate(levels):
            for k in range(len(covered)):
                values = {"coverage": float(covered[k, j]), "width": float(width[k, j])}
                rows.append({"strategy": name, "level": level, "k": k + 1, **values})
    return rows


def figures(series: Series, calibrated: Mapping[str, Calibrated], p: "Params") -> dict[str, Figure]:
    """Draw the intervals that the observed part prefers, one after another, and coverage and width by horizon."""
    levels, horizon = p.intervals.levels, p.backtest.horizon
    name = preferred(calibrated)
    test, widths = calibrated[name].test, calibrated[name].widths[0]
    fans = []
    for i in range(0, test.errors.shape[1], horizon):
        length = min(horizon, test.errors.shape[1] - i)
        reach = dict(zip(levels, widths[i, :length].T, strict=True))
        fans.append((test.first + i, test.predictions[0, i, :length], reach))
    steps = [*range(1, horizon + 1)]
    missed = {
        name.replace("_", " "): {
            f"{100 * level:g} %": (steps, 100 * (one.coverage[:, j] - level)) for j, level in enumerate(levels)
        }
        for name, one in calibrated.items()
    }
    most = max(5.0, 1.1 * max(float(np.abs(y).max()) for panel in missed.values() for _, y in panel.values()))
    wide = {name.replace("_", " "): (steps, one.width[:, -1]) for name, one in calibrated.items()}
    return {
        "fan": draw_fan(series.time, series.x, fans, name.replace("_", " ")),
        "coverage": draw_panels(
            missed, "steps ahead", "points from nominal", {"3 points": [-3, 0, 3]}, (-most, most)
        ),
        "width": draw_lines(wide, "steps ahead", f"width of {100 * levels[-1]:g} % intervals"),
    }
