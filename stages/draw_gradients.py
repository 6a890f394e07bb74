"""Draw the study of gradients through time.

Reads data/results/bptt.json and data/gradients/curves.json; writes data/reports/figures/bptt/.
Run: python stages/draw_gradients.py
"""

from pathlib import Path

from timemachine.base.files import read_mapping
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figures
from timemachine.plots.gradients import draw_study


def run(_: Params, report: Path, curves: Path, figures: Path) -> None:
    """Write the figures."""
    save_figures(draw_study(read_mapping(report), read_mapping(curves)), figures)


if __name__ == "__main__":
    stage.main(
        run,
        report="data/results/bptt.json",
        curves="data/gradients/curves.json",
        figures="data/reports/figures/bptt",
    )
