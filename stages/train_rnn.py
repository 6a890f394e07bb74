"""Train one recurrent language model.

Reads `train_rnn.<name>` of params.yaml and data/text/<corpus>/; writes data/models/rnn/<name>/.
Run: python stages/train_rnn.py NAME (DVC passes NAME in DVC_STAGE)
"""

import os
from pathlib import Path

from timemachine.base.compute import environment
from timemachine.base.errors import about
from timemachine.language.models.config import RnnConfig
from timemachine.language.training.history import kept
from timemachine.language.training.train import describe, history_rows, train_language_model
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import STATES
from timemachine.pipeline.progress import Progress
from timemachine.text.corpus import Corpus
from timemachine.tracking.live import Live
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device
from timemachine.training.loop import Epoch
from timemachine.training.resume import Resumable, training_hash


def run(params: Params, name: str, text: Path, out: Path) -> None:
    """Train the model and write its checkpoint."""
    recipe = stage.entry(params.train_rnn, name, "train_rnn")
    corpus = Corpus.load(text / recipe.corpus)
    with about(f"train_rnn.{name}"):
        device, described = choose_device(recipe.device), describe(recipe, name, corpus)
        machine, root = environment(device), stage.repository_root()
        key = training_hash(described, params.compute.model_dump(), machine)
        with (
            Resumable(root / STATES / key, name, recipe.num_epochs, os.environ.get("DVC_STAGE")) as resumable,
            Progress(name, recipe.num_epochs) as progress,
            Live(root, params.publish.experiment, described, device) as live,
        ):

            def tell(epoch: Epoch) -> None:
                row = history_rows([epoch])[0]
                if epoch.epoch > resumable.num_restored:
                    progress.update(epoch.epoch, perplexity=row["perplexity"], tokens_per_s=epoch.labels_per_s)
                live.update(row | {"tokens_per_s": epoch.labels_per_s})

            model, history = train_language_model(recipe, corpus, device, tell, resumable)
            rows = history_rows(history)
            epoch = int(kept(rows, recipe.patience is not None)["epoch"])
            save_checkpoint(out / name, model, RnnConfig(**described, epoch=epoch), rows, machine)
            corpus.vocabulary.save(out / name / "vocabulary.json")


if __name__ == "__main__":
    stage.main(run, text="data/text", out="data/models/rnn")
