"""Draw perplexity against epoch for every language model, and say where each ended.

Reads the names in `train_rnn` of params.yaml and data/models/rnn/; writes training.json and figures/training/
below data/reports/.
Run: python stages/learning_curves.py
"""

from pathlib import Path

from timemachine import plots, stage
from timemachine.files import write_json
from timemachine.params import Params
from timemachine.training.history import read_history


def run(params: Params, models: Path, report: Path, figures: Path) -> None:
    """Write the last epochs and the figures."""
    histories = {name: read_history(models / name / "history.csv") for name in params.train_rnn}
    write_json(report, {name: rows[-1] for name, rows in histories.items()})
    for name, rows in histories.items():
        plots.save(plots.perplexity(rows), figures / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        models="data/models/rnn",
        report="data/reports/training.json",
        figures="data/reports/figures/training",
    )
