"""Make the noisy sine, or read a series of your own, and draw it.

Reads `series` of params.yaml and data/own/; writes data/series/series.csv and
data/reports/figures/series/series.png.
Run: python stages/series.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.forecasting.series.own import read_own_series
from timemachine.forecasting.series.source import noisy_sine
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.plots.forecasting import draw_time_series


def run(params: Params, out: Path, figures: Path) -> None:
    """Write the series as columns t and x, and draw it."""
    p = params.series
    if p.csv is None:
        series = noisy_sine(p.num_points, p.frequency, p.noise_std, p.seed)
    else:
        series = read_own_series("data/own", p).in_iso()
    with about(p.csv or "series"):
        series.check_unit()
    series.save(out)
    title = "Noisy sine" if p.csv is None else f"{p.csv}, {p.value_column}"
    save_figure(draw_time_series(title, series.time, {"data": (0, series.x)}), figures / "series.png")


if __name__ == "__main__":
    stage.main(run, out="data/series/series.csv", figures="data/reports/figures/series")
