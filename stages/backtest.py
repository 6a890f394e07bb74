"""Compare strategies of forecasting many steps, from rolling origins.

Reads `backtest`, `choose_tau`, `series`, `train_ar` and `evaluate_forecast` of params.yaml, and
data/series/series.csv; writes data/results/backtest.json and data/forecasts/backtest/.
Run: python stages/backtest.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json, write_table
from timemachine.forecasting.evaluation import backtests, error_growth
from timemachine.forecasting.series.source import Series, replicas
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params


def run(params: Params, series: Path, report: Path, tables: Path) -> None:
    """Write the errors of all strategies, of the one with the lowest validation error, and their growth."""
    p = params.backtest
    x = replicas(Series.load(series), params.series, p.num_seeds)
    ks = [k for k in params.evaluate_forecast.k_steps if k <= p.horizon]
    with about("backtest"):
        sections = (p, params.choose_tau, params.train_ar)
        results = backtests.backtest_all(backtests.all_forecasters(x[:, : p.num_observed], *sections), x, p)
        growths = error_growth.measure_all_growths(x, *sections)
    summaries = {name: growth.summary(ks) for name, growth in growths.items()}
    write_json(report, backtests.backtest_report(results, x, ks) | {"error_growth": summaries})
    write_table(tables / "by_horizon.csv", backtests.errors_by_horizon(results, p))
    write_table(tables / "multistep.csv", backtests.multistep_rows(results))
    write_table(tables / "error_growth.csv", error_growth.growth_rows(growths))


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/results/backtest.json",
        tables="data/forecasts/backtest",
    )
