"""Train one recurrent language model, in one process or in several.

Reads `train_rnn.<name>` of params.yaml and data/text/<corpus>/; writes data/models/rnn/<name>/.
Run: python stages/train_rnn.py NAME, or torchrun --standalone --nproc-per-node N stages/train_rnn.py NAME
(without NAME, it is taken from DVC_STAGE, for example train_rnn@lstm)
"""

from pathlib import Path

from timemachine.base.compute import environment, needing_less_with
from timemachine.base.errors import about
from timemachine.language.models.config import RnnConfig
from timemachine.language.training.history import kept
from timemachine.language.training.train import describe, history_rows, train_language_model
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.torchrun import Place, start
from timemachine.text.tokens.corpus import Corpus
from timemachine.tracking.followed import follow
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.data_parallel import joined
from timemachine.training.devices import choose_device

RATE = "tokens_per_s"
SHOWN = ("perplexity", RATE)


def run(params: Params, name: str, text: Path, out: Path, place: Place | None = None) -> None:
    """Train the model and write its checkpoint; of several processes, the first writes it."""
    recipe = stage.entry(params.train_rnn, name, "train_rnn")
    place = place or start(recipe.num_processes)
    with (
        about(f"train_rnn.{name}"),
        needing_less_with(f"batch_size, num_steps or num_hiddens of train_rnn.{name}"),
    ):
        corpus = Corpus.load(text / recipe.corpus)
        device = choose_device(recipe.device, place.local_rank, place.num_local)
        config = describe(recipe, name, corpus)
        with (
            joined(place.rank, place.size, device) as ranks,
            follow(params, config, device, history_rows, SHOWN, RATE, ranks.is_first) as (tell, resumable),
        ):
            model, history = train_language_model(recipe, corpus, device, tell, resumable, ranks)
            if ranks.is_first:
                rows, machine = history_rows(history), environment(device, recipe.precision)
                epoch = int(kept(rows, recipe.patience is not None)["epoch"])
                save_checkpoint(
                    out / name, model, RnnConfig(**config, epoch=epoch), rows, machine | ranks.described
                )
                corpus.vocabulary.save(out / name / "vocabulary.json")


if __name__ == "__main__":
    stage.main(run, text="data/text", out="data/models/rnn")
