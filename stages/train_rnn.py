"""Train one recurrent language model.

Reads `train_rnn.<name>` of params.yaml and data/text/<corpus>/; writes data/models/rnn/<name>/.
Run: python stages/train_rnn.py NAME
"""

from pathlib import Path

from timemachine import stage
from timemachine.params import Params, RnnConfig
from timemachine.progress import Progress
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device
from timemachine.training.history import kept, perplexity
from timemachine.training.language import history_rows, train_language_model, training_range


def run(params: Params, name: str, text: Path, out: Path) -> None:
    """Train the model and write its checkpoint."""
    recipe = stage.entry(params.train_rnn, name, "train_rnn")
    corpus = Corpus.load(text / recipe.corpus)
    with stage.about(f"train_rnn.{name}"), Progress(name, recipe.num_epochs) as progress:
        model, history = train_language_model(
            recipe,
            corpus,
            choose_device(recipe.device),
            lambda e: progress.update(e.epoch, perplexity=perplexity(e.loss), tokens_per_s=e.labels_per_s),
        )
        rows = history_rows(history)
        config = RnnConfig(
            **recipe.model_dump(),
            family="rnn",
            name=name,
            epoch=int(kept(rows, recipe.patience is not None)["epoch"]),
            train_range=list(training_range(recipe, corpus)),
            vocab_size=len(corpus.vocabulary),
            vocabulary_sha256=corpus.vocabulary.sha256,
        )
    save_checkpoint(out / name, model, config, rows)


if __name__ == "__main__":
    stage.main(run, text="data/text", out="data/models/rnn")
