"""Draw perplexity against epoch for every language model, and report the epoch and the machine of its weights.

Reads `train_rnn` of params.yaml and data/models/rnn/; writes data/results/training.json,
data/results/environment.json and data/reports/figures/training/.
Run: python stages/learning_curves.py
"""

from pathlib import Path

from timemachine.base.files import read_mapping, write_json
from timemachine.language.training.history import kept, read_history
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.plots.language import draw_perplexity


def run(params: Params, models: Path, report: Path, environments: Path, figures: Path) -> None:
    """Write the epochs whose weights were kept, the kinds of machines that trained them, and the figures."""
    histories = {name: read_history(models / name / "history.csv") for name in params.train_rnn}
    ends = {name: kept(rows, params.train_rnn[name].patience is not None) for name, rows in histories.items()}
    write_json(report, ends)
    write_json(environments, {name: read_mapping(models / name / "environment.json") for name in params.train_rnn})
    for name, rows in histories.items():
        save_figure(draw_perplexity(rows, name), figures / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        models="data/models/rnn",
        report="data/results/training.json",
        environments="data/results/environment.json",
        figures="data/reports/figures/training",
    )
