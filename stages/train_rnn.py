"""Train one recurrent language model.

Reads `train_rnn.<name>` of params.yaml and data/text/<corpus>/; writes data/models/rnn/<name>/ and
data/reports/figures/training/<name>.png.
Run: python stages/train_rnn.py NAME
"""

import math
from pathlib import Path

from timemachine import plots, stage
from timemachine.params import Params
from timemachine.progress import Progress
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device
from timemachine.training.language import history_rows, train_language_model, training_range
from timemachine.training.loop import Epoch

CURVES = {"train": "perplexity", "validation": "val_perplexity"}


def run(params: Params, name: str, text: Path, out: Path, figures: Path) -> None:
    """Train the model, write its checkpoint, draw its curve."""
    recipe = stage.entry(params.train_rnn, name, "train_rnn")
    device = choose_device(recipe.device, f"train_rnn.{name}.device")
    corpus = Corpus.load(text / recipe.corpus)
    with Progress(name, recipe.num_epochs) as progress:

        def show(e: Epoch) -> None:
            progress.update(e.epoch, perplexity=math.exp(e.loss), tokens_per_s=e.num_labels / e.seconds)

        model, history = train_language_model(recipe, corpus, device, show)
    config = {
        "family": "rnn",
        "name": name,
        **recipe.model_dump(),
        "train_range": training_range(recipe, corpus),
        "vocab_size": len(corpus.vocabulary),
        "vocabulary_sha256": corpus.vocabulary.sha256,
    }
    rows = history_rows(history)
    save_checkpoint(out / name, model, config, rows)
    curves = {label: plots.column(rows, "epoch", key) for label, key in CURVES.items() if key in rows[0]}
    plots.save(plots.lines(curves, "epoch", "perplexity", logarithmic="y"), figures / f"{name}.png")


if __name__ == "__main__":
    stage.main(run, text="data/text", out="data/models/rnn", figures="data/reports/figures/training")
