"""Train one recurrent language model.

Reads `train_rnn.<name>` of params.yaml and data/text/<corpus>/; writes data/models/rnn/<name>/.
Run: python stages/train_rnn.py NAME (DVC passes NAME in DVC_STAGE)
"""

from pathlib import Path

from timemachine.base.compute import environment, needing_less_with
from timemachine.base.errors import about
from timemachine.language.models.config import RnnConfig
from timemachine.language.training.history import kept
from timemachine.language.training.train import describe, history_rows, train_language_model
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.tokens.corpus import Corpus
from timemachine.tracking.followed import follow
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device


def run(params: Params, name: str, text: Path, out: Path) -> None:
    """Train the model and write its checkpoint."""
    recipe = stage.entry(params.train_rnn, name, "train_rnn")
    corpus = Corpus.load(text / recipe.corpus)
    with (
        about(f"train_rnn.{name}"),
        needing_less_with(f"batch_size, num_steps or num_hiddens of train_rnn.{name}"),
    ):
        device, config = choose_device(recipe.device), describe(recipe, name, corpus)
        shown = ("perplexity", "tokens_per_s")
        with follow(params, config, device, history_rows, shown, rate="tokens_per_s") as (tell, resumable):
            model, history = train_language_model(recipe, corpus, device, tell, resumable)
            rows = history_rows(history)
            epoch = int(kept(rows, recipe.patience is not None)["epoch"])
            save_checkpoint(
                out / name, model, RnnConfig(**config, epoch=epoch), rows, environment(device, recipe.precision)
            )
            corpus.vocabulary.save(out / name / "vocabulary.json")


if __name__ == "__main__":
    stage.main(run, text="data/text", out="data/models/rnn")
