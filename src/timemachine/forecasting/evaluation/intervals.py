"""Coverage and width of prediction intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from timemachine.forecasting.evaluation.config import IntervalsParams
from timemachine.forecasting.evaluation.conformal import coverage, half_widths
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.backtest import Backtest, backtest
from timemachine.forecasting.strategies.candidates import Choice, candidates
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams


@dataclass(frozen=True)
class CalibratedForecasts:
    """Forecasts of one strategy from the origins of the test, and their intervals.

    Attributes:
        test: forecasts from num_observed on; the strategy was refitted before each fold.
        widths: (num_series, num_origins, horizon, num_levels) half widths, from forecasts before each origin.
        validation: (num_series,) RMSE over the origins before the test.
    """

    test: Backtest
    widths: Array
    validation: Array

    @cached_property
    def coverage(self) -> Array:
        """The share of true values inside the intervals, mean over series: (horizon, num_levels)."""
        return coverage(self.test.errors, self.widths).mean(0)

    @cached_property
    def width(self) -> Array:
        """The mean width over series and origins with a true value: (horizon, num_levels)."""
        known = ~np.isnan(self.test.errors)[..., None]
        return 2 * np.where(known, self.widths, 0).sum((0, 1)) / known.sum((0, 1))


def calibrate_all(
    x: Array, p: IntervalsParams, b: BacktestParams, choose_tau: ChooseTauParams
) -> dict[str, CalibratedForecasts]:
    """Forecast series x (num_series, T) with all strategies of `intervals`, and compute intervals."""
    # Folds have as many origins as those by which lags are chosen.
    num_folds = max(1, round((x.shape[1] - b.first_validation) * b.num_folds / b.num_validation))
    found = candidates(x[:, : b.num_observed], Choice.of(b, choose_tau), b.horizon, p.strategies)
    calibrated = {}
    for name in p.strategies:
        whole = backtest(found[name], x, b.first_validation, b.horizon, num_folds)
        widths = half_widths(whole.errors, p.levels, p.num_calibration)[:, b.num_validation : -1]
        validation = whole.until(b.num_observed).score()
        calibrated[name] = CalibratedForecasts(whole.since(b.num_observed), widths, validation)
    return calibrated


def best_calibrated(calibrated: Mapping[str, CalibratedForecasts]) -> str:
    """Return the strategy with the lowest validation error on the first series."""
    return min(calibrated, key=lambda name: float(calibrated[name].validation[0]))


def intervals_report(
    calibrated: Mapping[str, CalibratedForecasts], levels: Sequence[float], ks: Sequence[int]
) -> dict[str, Any]:
    """Return coverage and width by strategy and level: means over all horizons, and those of the horizons `ks`.

    `largest_miss` is the largest difference between coverage and level over all horizons.
    """
    report: dict[str, Any] = {"drawn": best_calibrated(calibrated), "strategies": {}}
    for name, one in calibrated.items():
        report["strategies"][name] = {
            str(level): {
                "coverage": float(covered.mean()),
                "largest_miss": float(np.abs(covered - level).max()),
                "width": float(width.mean()),
                "k_step_coverage": {str(k): float(covered[k - 1]) for k in ks},
                "k_step_width": {str(k): float(width[k - 1]) for k in ks},
            }
            for level, covered, width in zip(levels, one.coverage.T, one.width.T, strict=True)
        }
    return report


def intervals_by_horizon(
    calibrated: Mapping[str, CalibratedForecasts], levels: Sequence[float]
) -> list[dict[str, object]]:
    """Return a row of coverage and width for each strategy, level and horizon."""
    rows: list[dict[str, object]] = []
    for name, one in calibrated.items():
        for level, covered, width in zip(levels, one.coverage.T, one.width.T, strict=True):
            rows += [
                {"strategy": name, "level": level, "k": k + 1, "coverage": covered[k], "width": width[k]}
                for k in range(len(covered))
            ]
    return rows


def fan_rows(calibrated: Mapping[str, CalibratedForecasts], levels: Sequence[float]) -> list[dict[str, object]]:
    """Return consecutive forecasts of the first series by the best strategy, and how far their intervals reach.

    Each row has the strategy, the origin (an index of the series), k, the prediction k steps ahead, and by level
    the half width of its interval. Each forecast begins where the one before ends.
    """
    name = best_calibrated(calibrated)
    test, widths = calibrated[name].test, calibrated[name].widths[0]
    num_origins, horizon = test.errors.shape[1:]
    return [
        {"strategy": name, "origin": test.first + i, "k": k + 1, "prediction": test.predictions[0, i, k]}
        | dict(zip(map(str, levels), widths[i, k], strict=True))
        for i in range(0, num_origins, horizon)
        for k in range(min(horizon, num_origins - i))
    ]
