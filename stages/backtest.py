"""Compare strategies of forecasting many steps, from rolling origins.

Reads `backtest`, `choose_tau`, `series`, `train_ar` and `evaluate_forecast` of params.yaml, and
data/series/series.csv; writes data/results/backtest.json and data/forecasts/backtest/.
Run: python stages/backtest.py
"""

from pathlib import Path

from timemachine.base.compute import needing_less_with
from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.forecasting.evaluation import backtests, error_growth
from timemachine.forecasting.evaluation.tables import at_horizons, write_curves
from timemachine.forecasting.series.own import calendar_seasons
from timemachine.forecasting.series.source import Series, replicas
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress


def run(params: Params, series: Path, report: Path, tables: Path) -> None:
    """Write the errors of all strategies, of the one with the lowest validation error, and their growth."""
    p = params.backtest
    loaded = Series.load(series)
    x, calendar = replicas(loaded, params.series, p.num_seeds), calendar_seasons(loaded.time)
    ks = [k for k in params.evaluate_forecast.k_steps if k <= p.horizon]
    with about("backtest"), needing_less_with("backtest.num_seeds"), show_progress("backtest") as show:
        sections = (p, params.choose_tau, params.train_ar)
        forecasters = backtests.all_forecasters(x[:, : p.num_observed], *sections, calendar, show)
        results = backtests.backtest_all(forecasters, x, p, show)
        growths = error_growth.measure_all_growths(x, *sections, show)
    content = backtests.backtest_report(results, x, ks) | {"error_growth": {}}
    for name, (numbers, curves) in growths.items():
        content["error_growth"][name] = numbers | {key: at_horizons(curve, ks) for key, curve in curves.items()}
    write_json(report, content)
    names, by_horizon = ("strategy", "lag_strategy", "model", "fitted"), backtests.errors_by_horizon(results, p)
    write_curves(tables / "by_horizon.csv", names, by_horizon)
    write_curves(tables / "multistep.csv", ("strategy", "chosen"), backtests.multistep_curves(results))
    growth = {(name,): curves for name, (_, curves) in growths.items()}
    write_curves(tables / "error_growth.csv", ["model"], growth)


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/results/backtest.json",
        tables="data/forecasts/backtest",
    )
