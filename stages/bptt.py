"""Study gradients through time: how they fade, and what cutting them does to bias, variance, cost and learning.

Reads `bptt` of params.yaml, the trained model and the corpus it names; writes bptt.json and figures/bptt/ below
data/reports/.
Run: python stages/bptt.py
"""

from pathlib import Path

from timemachine import plots, stage
from timemachine.evaluation.bptt import study
from timemachine.files import write_json
from timemachine.models.language import rebuild_language_model as rebuild
from timemachine.models.rnn_scratch import RNNScratch
from timemachine.params import Params, RnnConfig
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, text: Path, models: Path, report: Path, drawn: Path) -> None:
    """Write the report and the figures."""
    p = params.bptt
    corpus = Corpus.load(text / p.corpus)
    model, config = load_checkpoint(models / p.model, RnnConfig, rebuild, corpus.vocabulary.sha256)
    assert isinstance(model, RNNScratch)  # the params were checked
    begin, end = config.train_range
    with stage.about("bptt"):
        content, figures = study(p, corpus, model, (begin, end))
    write_json(report, content)
    for name, figure in figures.items():
        plots.save(figure, drawn / f"{name}.png")


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        report="data/reports/bptt.json",
        drawn="data/reports/figures/bptt",
    )
