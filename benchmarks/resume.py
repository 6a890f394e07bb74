"""What it costs to keep a training resumable: the part of its time that saving its state takes.

Trains the first epochs of recipes in which a state is large, or an epoch short, as the stage does, and clocks what
the loop spends in handing over its state and writing it.

Run: python benchmarks/resume.py [--rounds N]   (after `dvc repro preprocess`)
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from timemachine.base import compute
from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.train import train_language_model
from timemachine.pipeline import params
from timemachine.text.corpus import Corpus
from timemachine.training.devices import choose_device
from timemachine.training.resume import Resumable, Snapshot

EPOCHS = {"e1_concise_sequential": 100, "e2_concise_windows": 40, "lstm": 3}


class Clocked(Resumable):
    """Adds up the time that it takes."""

    spent_s = 0.0

    def update(self, snapshot: Snapshot) -> None:
        """Take the state after an epoch."""
        begin = time.perf_counter()
        super().update(snapshot)
        self.spent_s += time.perf_counter() - begin


def share(name: str, recipe: RnnRecipe, corpus: Corpus) -> float:
    """Return the part of a training's time that its states take."""
    device = choose_device(recipe.device)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        begin = time.perf_counter()
        with Clocked(Path(folder) / "states", name, recipe.num_epochs) as resumable:
            train_language_model(recipe, corpus, device, None, resumable)
        return resumable.spent_s / (time.perf_counter() - begin)


def main() -> None:
    """Print a line for each recipe: the median share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checked = params.load()
    compute.set_up(checked.compute)
    for name, num_epochs in EPOCHS.items():
        recipe = checked.train_rnn[name].model_copy(update={"num_epochs": num_epochs})
        corpus = Corpus.load(Path("data/text") / recipe.corpus)
        shares = [share(name, recipe, corpus) for _ in range(options.rounds)]
        print(f"{name:24} {100 * statistics.median(shares):5.2f} % of {num_epochs} epochs")


if __name__ == "__main__":
    main()
