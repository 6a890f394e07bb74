"""Study gradients through time: how they fade, and what cutting them does to bias, variance, cost and learning.

Reads `bptt` of params.yaml, the trained model and the corpus it names; writes bptt.json and figures/bptt/ below
data/reports/.
Run: python stages/bptt.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.gradients.study import study
from timemachine.language.models.build import rebuild_language_model as rebuild
from timemachine.language.models.config import RnnConfig
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, text: Path, models: Path, report: Path, drawn: Path) -> None:
    """Write the report and the figures."""
    p = params.bptt
    corpus = Corpus.load(text / p.corpus)
    model, config = load_checkpoint(models / p.model, RnnConfig, rebuild, corpus.vocabulary.sha256)
    assert isinstance(model, RNNScratch)  # the params were checked
    begin, end = config.train_range
    with about("bptt"):
        content, figures = study(p, corpus, model, (begin, end))
    write_json(report, content)
    for name, figure in figures.items():
        save_figure(figure, drawn / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        report="data/reports/bptt.json",
        drawn="data/reports/figures/bptt",
    )
