"""Draw the results of choose_tau, backtest and intervals.

Reads `backtest`, `intervals.levels`, `series.csv` and `series.noise_std` of params.yaml, data/series/series.csv,
data/results/tau.json, data/forecasts/backtest/ and data/forecasts/intervals/; writes the folders tau, backtest and
intervals of data/reports/figures/.
Run: python stages/draw_forecasts.py
"""

from collections.abc import Sequence
from pathlib import Path

from timemachine.base.files import read_mapping, read_table
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots import forecasting as plots
from timemachine.plots.figure import save_figure


def rows(path: Path) -> Sequence[plots.Row]:
    """Return the rows of a table of forecasts."""
    return read_table(path, "a table of forecasts", plots.parse_row)


def run(params: Params, series: Path, tau: Path, backtest: Path, intervals: Path, figures: Path) -> None:
    """Draw errors by τ and by horizon, forecasts, and coverage and width of intervals."""
    s, floor = Series.load(series), params.series.noise_floor
    drawn = {
        "tau": {"tau": plots.tau_figure(read_mapping(tau), params.backtest.horizon, floor)},
        "backtest": plots.backtest_figures(
            s.time,
            s.x,
            rows(backtest / "by_horizon.csv"),
            rows(backtest / "multistep.csv"),
            rows(backtest / "error_growth.csv"),
            trained=[*params.backtest.trained],
            noise_floor=floor,
        ),
        "intervals": plots.interval_figures(
            s.time, s.x, rows(intervals / "by_horizon.csv"), rows(intervals / "fan.csv"), params.intervals.levels
        ),
    }
    for folder, by_name in drawn.items():
        for name, figure in by_name.items():
            save_figure(figure, figures / folder / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        tau="data/results/tau.json",
        backtest="data/forecasts/backtest",
        intervals="data/forecasts/intervals",
        figures="data/reports/figures",
    )
