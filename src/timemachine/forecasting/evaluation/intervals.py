"""Coverage and width of prediction intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.evaluation.config import IntervalsParams
from timemachine.forecasting.evaluation.conformal import coverage, half_widths
from timemachine.forecasting.evaluation.tables import at_horizons
from timemachine.forecasting.models.regression import Array
from timemachine.forecasting.strategies.backtest import ErrorSums, backtest
from timemachine.forecasting.strategies.candidates import candidates
from timemachine.forecasting.strategies.combination import known_from
from timemachine.forecasting.strategies.config import BacktestParams, ChooseTauParams
from timemachine.forecasting.strategies.pooled import pooled

Curves = dict[str, Array]


def measure_intervals(
    x: Array,
    p: IntervalsParams,
    b: BacktestParams,
    choose_tau: ChooseTauParams,
    calendar: Sequence[int] = (),
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> tuple[dict[tuple[str, float], Curves], dict[tuple[str, int], Curves]]:
    """Forecast series x (num_series, T) with all strategies of `intervals`, and measure their intervals.

    The strategies are refitted before each fold of origins; an interval is computed from the forecasts before it.

    Args:
        x: (num_series, T).
        p: the strategies, and the levels of the intervals.
        b: the rolling origins.
        choose_tau: the lags and penalties to choose from.
        calendar: periods that the step between times implies.
        show: reports progress: steps done, their number, and what they are.

    Returns:
        By strategy and level: `coverage` and `width` (horizon,), means over series and origins from num_observed
        on.
        By the strategy with the lowest validation error on the first series, and origin, an index of this series:
        consecutive forecasts of it (`prediction`), and by level the half widths of their intervals. Each begins
        where the one before ends.

    Raises:
        UserError: a strategy has a period that the series does not have.
    """
    # Folds have as many origins as those by which lags are chosen.
    num_folds = max(1, round((x.shape[1] - b.first_validation) * b.num_folds / b.num_validation))
    observed = x[:, : b.num_observed]
    found = candidates(observed, b, choose_tau, b.horizon, p.strategies, show)
    if missing := [name for name in p.strategies if name not in found]:
        found |= pooled(observed, b, calendar, show)
        if wrong := [name for name in missing if name not in found]:
            raise UserError(f"strategies: no {wrong[0]!r} for this series; choose from {', '.join(found)}")
    # The errors of the origins before num_observed that are not yet known there.
    unknown = known_from(b.num_validation, b.horizon) > b.num_validation
    measured, first_series, scores = {}, {}, dict[str, float]()
    for name in p.strategies:
        show(len(scores), len(p.strategies), f"strategies, {name}")
        whole = backtest(found[name], x, b.first_validation, b.horizon, num_folds)
        validation = np.where(unknown, np.nan, whole.errors[:, : b.num_validation])
        scores[name] = float(ErrorSums.of(validation).score()[0])
        widths = half_widths(whole.errors, p.levels, p.num_calibration)[:, b.num_validation : -1]
        errors = whole.errors[:, b.num_validation :]
        first_series[name] = whole.predictions[0, b.num_validation :], widths[0]
        covered = coverage(errors, widths).mean(0)  # (horizon, num_levels)
        known = ~np.isnan(errors)[..., None]
        width = 2 * np.where(known, widths, 0).sum((0, 1)) / known.sum((0, 1))
        for i, level in enumerate(p.levels):
            measured[name, level] = {"coverage": covered[:, i], "width": width[:, i]}
    show(len(scores), len(scores), "strategies")
    best, fan = min(scores, key=scores.__getitem__), {}
    predictions, reach = first_series[best]
    for i in range(0, len(predictions), b.horizon):
        num_steps = min(b.horizon, len(predictions) - i)
        by_level = dict(zip(map(str, p.levels), reach[i, :num_steps].T, strict=True))
        fan[best, b.num_observed + i] = {"prediction": predictions[i, :num_steps], **by_level}
    return measured, fan


def intervals_report(
    measured: Mapping[tuple[str, float], Curves], drawn: str, ks: Sequence[int]
) -> dict[str, Any]:
    """Return coverage and width by strategy and level: means over all horizons, and those of the horizons `ks`.

    `largest_miss` is the largest difference between coverage and level over all horizons; `drawn` is the strategy
    whose forecasts are drawn.
    """
    report: dict[str, Any] = {"drawn": drawn, "strategies": {}}
    for (name, level), one in measured.items():
        covered, width = one["coverage"], one["width"]
        report["strategies"].setdefault(name, {})[str(level)] = {
            "coverage": float(covered.mean()),
            "largest_miss": float(np.abs(covered - level).max()),
            "width": float(width.mean()),
            "k_step_coverage": at_horizons(covered, ks),
            "k_step_width": at_horizons(width, ks),
        }
    return report
