"""Draw the results of choose_tau, backtest and intervals.

Reads `backtest`, `intervals.levels`, `series.csv` and `series.noise_std` of params.yaml, data/series/series.csv,
data/results/tau.json, data/forecasts/backtest/ and data/forecasts/intervals/; writes the folders tau, backtest and
intervals of data/reports/figures/.
Run: python stages/draw_forecasts.py
"""

from pathlib import Path

from timemachine.base.files import read_mapping
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots import forecasting as plots
from timemachine.plots.figure import save_figures


def run(params: Params, series: Path, tau: Path, tables: Path, figures: Path) -> None:
    """Draw errors by τ and by horizon, forecasts, and coverage and width of intervals."""
    s, floor, trained = Series.load(series), params.series.noise_floor, [*params.backtest.trained]
    names = ("backtest/by_horizon", "backtest/multistep", "backtest/error_growth")
    backtest = [plots.read_rows(tables / f"{name}.csv") for name in names]
    intervals = [plots.read_rows(tables / f"intervals/{name}.csv") for name in ("by_horizon", "fan")]
    by_tau = plots.tau_figure(read_mapping(tau), params.backtest.horizon, floor)
    save_figures({"tau": by_tau}, figures / "tau")
    drawn = plots.backtest_figures(s.time, s.x, *backtest, trained=trained, noise_floor=floor)
    save_figures(drawn, figures / "backtest")
    drawn = plots.interval_figures(s.time, s.x, *intervals, levels=params.intervals.levels)
    save_figures(drawn, figures / "intervals")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        tau="data/results/tau.json",
        tables="data/forecasts",
        figures="data/reports/figures",
    )
