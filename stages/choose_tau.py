"""Draw forecast error against the embedding dimension τ, with and without noise.

Reads `choose_tau`, the origins of `backtest` and `series` of params.yaml, and data/series/series.csv; writes
data/reports/tau.json and figures/tau/ beside it.
Run: python stages/choose_tau.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.forecasting.evaluation import lags
from timemachine.forecasting.series.source import Series
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure


def run(params: Params, series: Path, report: Path, figures: Path) -> None:
    """Write errors by τ, on rolling origins of the observed part, and draw them."""
    with about("choose_tau"):
        content = lags.study(params, Series.load(series))
    write_json(report, content)
    save_figure(lags.draw(content, params.backtest.horizon, lags.noise_floor(params.series)), figures / "tau.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/reports/tau.json",
        figures="data/reports/figures/tau",
    )
