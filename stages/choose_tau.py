"""Draw forecast error against the embedding dimension τ, with and without noise.

Reads `choose_tau`, the origins of `backtest` and `series` of params.yaml, and data/series/series.csv; writes
data/reports/tau.json and figures/tau/ beside it.
Run: python stages/choose_tau.py
"""

from pathlib import Path

from timemachine import plots, stage
from timemachine.evaluation import lags
from timemachine.files import write_json
from timemachine.params import Params
from timemachine.series.source import Series


def run(params: Params, series: Path, report: Path, figures: Path) -> None:
    """Write errors by τ, on rolling origins of the observed part, and draw them."""
    with stage.about("choose_tau"):
        content = lags.study(params, Series.load(series))
    write_json(report, content)
    plots.save(lags.draw(content, params.backtest.horizon, lags.noise_floor(params.series)), figures / "tau.png")


if __name__ == "__main__":
    stage.main(
        run,
        series="data/series/series.csv",
        report="data/reports/tau.json",
        figures="data/reports/figures/tau",
    )
