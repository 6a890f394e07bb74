"""Draw the ranking of the language models.

Reads data/results/language_models.json; writes data/reports/figures/language_models/.
Run: python stages/draw_language_models.py
"""

from pathlib import Path

from timemachine.base.files import read_mapping
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.plots.language import draw_ranking


def run(params: Params, report: Path, figures: Path) -> None:
    """Write the figure."""
    save_figure(draw_ranking(read_mapping(report)), figures / "ranking.png")


if __name__ == "__main__":
    stage.main(run, report="data/results/language_models.json", figures="data/reports/figures/language_models")
