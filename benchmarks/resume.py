"""The share of the time of a training that saving its states takes.

Trains the first epochs of recipes with a large state or short epochs, as the stage does, and measures the time
that the loop spends in copying and writing its state.

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
from timemachine.text.tokens.corpus import Corpus
from timemachine.training.devices import choose_device
from timemachine.training.resume import Resumable, Snapshot

EPOCHS = {"e1_concise_sequential": 100, "e2_concise_windows": 40, "lstm": 3}


class Clocked(Resumable):
    """Measures the time of all updates."""

    spent_s = 0.0

    def update(self, snapshot: Snapshot) -> None:
        """Save the state after an epoch."""
        begin = time.perf_counter()
        super().update(snapshot)
        self.spent_s += time.perf_counter() - begin


def share(name: str, recipe: RnnRecipe, corpus: Corpus) -> float:
    """Return the share of the time of a training that saving its states takes."""
    device = choose_device(recipe.device)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        begin = time.perf_counter()
        with Clocked(Path(folder) / "states", name, recipe.num_epochs) as resumable:
            train_language_model(recipe, corpus, device, None, resumable)
        return resumable.spent_s / (time.perf_counter() - begin)


def main() -> None:
    """Print the median share for each recipe."""
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
