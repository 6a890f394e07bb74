"""Answers to the book's exercises on recurrent networks: one change at a time, and sampling from P^α.

Each row of the first table trains the recipe e1_concise_sequential with one change and fewer epochs. Validation
uses the tokens that follow, as many as are trained on. The second table shows texts that the unchanged model
generates. Reads params.yaml and data/text/; tables are printed to standard output, progress to standard error.

Run: python benchmarks/exercises.py [--epochs N] [--text FILE] [--threads N]
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, nn

from timemachine.base import config
from timemachine.base.compute import environment
from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import continue_sequences
from timemachine.language.models.config import RnnRecipe
from timemachine.language.scoring.reading import read_streams
from timemachine.language.training.train import train_language_model
from timemachine.pipeline import params, stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import named, show_progress
from timemachine.text.preparation.prepare import Piece, build_corpus
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.perplexity import perplexity
from timemachine.training.devices import choose_device
from timemachine.training.loop import DivergenceError, Epoch

BASE = "e1_concise_sequential"
CHANGES: dict[str, dict[str, Any]] = {
    "learnt embedding of 32 instead of one-hot": {"embedding_dim": 32},
    "ReLU instead of tanh": {"activation": "relu"},
    "no clipping": {"clip_norm": None},
    "no detaching": {"detach": False},
    "2 layers": {"num_layers": 2},
    "3 layers": {"num_layers": 3},
    "GRU": {"cell": "gru"},
    "LSTM": {"cell": "lstm"},
}
ALPHAS = (0.5, 1.0, 2.0, 4.0, float("inf"))
NUM_ROWS, NUM_WARMUP, NUM_PREDS, NUM_SHOWN = 64, 20, 200, 40
RULE = "|---" * 5 + "|"


def print_row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def train(name: str, recipe: RnnRecipe, corpus: Corpus) -> tuple[nn.Module, list[Epoch]]:
    """Return a trained model and its history."""
    with show_progress(name, steady=True) as show:
        return train_language_model(
            recipe,
            corpus,
            choose_device(recipe.device),
            lambda e: show(e.epoch, recipe.num_epochs, f"epochs, {named({'perplexity': perplexity(e.loss)})}"),
        )


def epoch_s(history: list[Epoch]) -> float:
    """Return the median of the seconds per epoch."""
    return statistics.median(epoch.seconds for epoch in history)


def results(history: list[Epoch], base_s: float) -> list[str]:
    """Return both perplexities after the last epoch, the seconds per epoch, and their ratio to the base."""
    perplexities = (perplexity(nats) for nats in (history[-1].loss, history[-1].metrics["val_nats"]))
    return [*(f"{p:#.4g}" for p in perplexities), f"{epoch_s(history):.3f}", f"{epoch_s(history) / base_s:.2f}"]


def compare_changes(checked: Params, num_epochs: int, text: Path) -> tuple[nn.Module, Corpus]:
    """Print the first table; return the unchanged model and its corpus."""
    recipe = stage.entry(checked.train_rnn, BASE, "train_rnn")
    content = recipe.model_dump() | {"num_epochs": num_epochs, "num_val": recipe.num_train, "patience": None}
    base = config.validate(RnnRecipe, content, BASE)
    corpus = Corpus.load(Path("data/text") / base.corpus)
    runs = [(n, config.validate(RnnRecipe, content | change, n), corpus) for n, change in CHANGES.items()]
    another = f"another book: {text.name}"
    if text.is_file():
        split = checked.preprocess.split
        options = checked.preprocess.corpora[base.corpus].model_dump(exclude={"texts"})
        fractions = (split.train, split.val, split.test)
        runs.append((another, base, build_corpus([Piece(text)], **options, fractions=fractions)))

    machine = environment(choose_device(base.device))
    print(machine["processor"], machine["device"], f"{torch.get_num_threads()} threads", sep=", ", end=", ")
    print(f"torch {torch.__version__}; {num_epochs} epochs\n")
    print_row("change", "train perplexity", "validation perplexity", "seconds per epoch", "time to base")
    print(RULE)
    model, history = train("base", base, corpus)
    base_s = epoch_s(history)
    print_row("none: one-hot, tanh, 1 layer, clipped, detached", *results(history, base_s))
    for name, changed, read in runs:
        try:
            print_row(name, *results(train(name, changed, read)[1], base_s))
        except DivergenceError as error:
            print_row(name, f"diverges in epoch {error.epoch}", *"–––")
        except UserError as error:
            print_row(name, error, *"–––")
    if not text.is_file():
        print_row(another, f"{text}: no such file", *"–––")
    return model.cpu(), corpus


def print_samples(model: nn.Module, corpus: Corpus, seed: int) -> None:
    """Print the second table: generated texts for each alpha, and the book's own text.

    Each text continues a prefix of held-out text. Its first and last word may be incomplete and are not counted.
    """
    val = corpus.part("val").tolist()
    stride = (len(val) - NUM_WARMUP - NUM_PREDS) // NUM_ROWS
    prefixes = [val[i * stride :][:NUM_WARMUP] for i in range(NUM_ROWS)]
    texts = {"the book itself": [val[i * stride + NUM_WARMUP :][:NUM_PREDS] for i in range(NUM_ROWS)]}
    for alpha in ALPHAS:
        generator = Generator().manual_seed(seed)
        texts[f"{alpha:g}"] = continue_sequences(model, prefixes, NUM_PREDS, Sampling(alpha=alpha), generator)
    known = set(corpus.tokenizer.decode(corpus.tokens.tolist()).split())

    decode = corpus.tokenizer.decode
    print(f"\n{NUM_ROWS} rows of {NUM_PREDS} characters; the sample follows `{decode(prefixes[0])}`\n")
    print_row("drawn from P^α, α =", "words in the book", "distinct words", "nats per character", "sample")
    print(RULE)
    for name, rows in texts.items():
        words = [word for row in rows for word in decode(row).split()[1:-1]]
        counts = sum(word in known for word in words), len(set(words))
        streams = [torch.tensor(prefix + row) for prefix, row in zip(prefixes, rows, strict=True)]
        nats = np.concatenate(read_streams(model, streams, [NUM_WARMUP] * NUM_ROWS)[0]).mean()
        shares = (f"{count / max(len(words), 1):.0%}" for count in counts)
        print_row(name, *shares, f"{nats:.3f}", f"`{decode(rows[0][:NUM_SHOWN])}`")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--text", type=Path, default=Path("../shared/data/war_of_the_worlds.txt"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.threads < 1:
        parser.error(f"--threads: {options.threads} is not at least 1")
    torch.set_num_threads(options.threads)
    with stage.one_line_errors("exercises"):
        checked = params.load()
        model, corpus = compare_changes(checked, options.epochs, options.text)
        print_samples(model, corpus, checked.train_rnn[BASE].seed)


if __name__ == "__main__":
    main()
