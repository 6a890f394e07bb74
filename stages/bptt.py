"""Study gradients through time: how they vanish, and the bias, variance, cost and learning of truncated ones.

Reads the section `bptt` of params.yaml, and the corpus and the trained model that it names; writes
data/results/bptt.json, and data/gradients/curves.json for the figures.
Run: python stages/bptt.py
"""

from pathlib import Path

from timemachine.base.compute import needing_less_with
from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.gradients.study import study_gradients
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.language.models.trained import load_module
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.text.tokens.corpus import Corpus
from timemachine.training.devices import choose_device


def run(params: Params, text: Path, models: Path, report: Path, curves: Path) -> None:
    """Write the report and the curves."""
    p = params.bptt
    corpus = Corpus.load(text / p.corpus)
    model, config = load_module(models / p.model, corpus.vocabulary)
    assert isinstance(model, RNNScratch)  # by a rule of `Params`
    with about("bptt"), needing_less_with("bptt.batch_size or bptt.num_draws"), show_progress("bptt") as show:
        model.to(choose_device(config.device))
        results, drawable = study_gradients(p, corpus, model, config.train_range, show)
    write_json(report, results)
    write_json(curves, drawable)


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        report="data/results/bptt.json",
        curves="data/gradients/curves.json",
    )
