"""Put intervals around forecasts, by the errors of earlier ones, and measure how often they hold.

Reads `intervals`, `backtest`, `choose_tau`, `series` and the horizons of `evaluate_forecast` of params.yaml, and
data/series/series.csv; writes intervals.json and figures/intervals/ below data/reports/, and data/forecasts/.
Run: python stages/intervals.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json, write_table
from timemachine.forecasting.evaluation import intervals
from timemachine.forecasting.series.source import Series, replicas
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure


def run(params: Params, series: Path, report: Path, horizons: Path, drawn: Path) -> None:
    """Write nominal and measured coverage and width by strategy, level and horizon, and draw them."""
    s = Series.load(series)
    with about("intervals"):
        calibrated = intervals.calibrate(params, replicas(s, params.series, params.intervals.num_seeds))
    write_json(report, intervals.report(calibrated, params))
    write_table(horizons, intervals.by_horizon(calibrated, params.intervals.levels))
    for name, figure in intervals.figures(s, calibrated, params).items():
        save_figure(figure, drawn / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/reports/intervals.json",
        horizons="data/forecasts/intervals.csv",
        drawn="data/reports/figures/intervals",
    )
