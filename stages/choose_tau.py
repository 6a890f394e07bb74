"""Measure forecast error by the embedding dimension τ, with and without noise.

Reads `choose_tau`, `backtest` and `series` of params.yaml, and data/series/series.csv; writes
data/results/tau.json.
Run: python stages/choose_tau.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.forecasting.evaluation.lags import errors_by_tau
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress


def run(params: Params, series: Path, report: Path) -> None:
    """Write errors by τ, over rolling origins of the observed part."""
    with about("choose_tau"), show_progress("choose_tau") as show:
        content = errors_by_tau(Series.load(series), params.series, params.backtest, params.choose_tau, show)
    write_json(report, content)


if __name__ == "__main__":
    stage.main(run, series="data/series/series.csv", report="data/results/tau.json")
