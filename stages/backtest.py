"""Compare strategies of forecasting many steps, from rolling origins.

Reads `backtest`, `choose_tau`, `series`, `train_ar` and the horizons of `evaluate_forecast` of params.yaml, and
data/series/series.csv; writes backtest.json and figures/backtest/ below data/reports/, and data/forecasts/.
Run: python stages/backtest.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json, write_table
from timemachine.forecasting.evaluation import comparison as strategies
from timemachine.forecasting.evaluation import lags
from timemachine.forecasting.series.source import Series, replicas
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure


def run(params: Params, series: Path, report: Path, horizons: Path, drawn: Path) -> None:
    """Write errors of all strategies, and of the one that the observed part prefers, and draw them."""
    p = params.backtest
    s = Series.load(series)
    x = replicas(s, params.series, p.num_seeds)
    ks = [k for k in params.evaluate_forecast.k_steps if k <= p.horizon]
    with about("backtest"):
        results = strategies.compare(strategies.forecasters(params, x[:, : p.num_observed]), x, p)
        grown = strategies.growths(params, x)
    growth = {name: one.summary(ks) for name, one in grown.items()}
    write_json(report, strategies.report(results, x, ks) | {"error_growth": growth})
    write_table(horizons, strategies.by_horizon(results))
    floor = lags.noise_floor(params.series)
    for name, figure in strategies.figures(s, results, grown, list(p.trained), floor).items():
        save_figure(figure, drawn / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/reports/backtest.json",
        horizons="data/forecasts/backtest.csv",
        drawn="data/reports/figures/backtest",
    )
