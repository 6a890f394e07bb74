"""Compute prediction intervals from the errors of earlier forecasts, and measure their coverage and width.

Reads `intervals`, `backtest`, `choose_tau`, `series` and `evaluate_forecast` of params.yaml, and
data/series/series.csv; writes data/results/intervals.json and data/forecasts/intervals/.
Run: python stages/intervals.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.forecasting.evaluation import intervals
from timemachine.forecasting.evaluation.tables import write_curves
from timemachine.forecasting.series.own import calendar_seasons
from timemachine.forecasting.series.source import Series, replicas
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress


def run(params: Params, series: Path, report: Path, tables: Path) -> None:
    """Write coverage and width by strategy, level and horizon, and the forecasts to draw."""
    p = params.intervals
    loaded = Series.load(series)
    x, calendar = replicas(loaded, params.series, p.num_seeds), calendar_seasons(loaded.time)
    with about("intervals"), show_progress("intervals") as show:
        measured, fan = intervals.measure_intervals(x, p, params.backtest, params.choose_tau, calendar, show)
    ks = [k for k in params.evaluate_forecast.k_steps if k <= params.backtest.horizon]
    drawn, _ = next(iter(fan))
    write_json(report, intervals.intervals_report(measured, drawn, ks))
    write_curves(tables / "by_horizon.csv", ("strategy", "level"), measured)
    write_curves(tables / "fan.csv", ("strategy", "origin"), fan)


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/results/intervals.json",
        tables="data/forecasts/intervals",
    )
