"""Characters per second of generation with a carried state, and with a full forward pass for each character.

Both decode greedily from the same prefixes in one run, in turn, and medians over the rounds are printed. The
network is that of a recipe in `train_rnn` with untrained weights, because speed does not depend on weights.

Run: python benchmarks/generation.py [--recipe NAME] [--rows N] [--num-preds N] [--rounds N]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Generator, nn

from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import GREEDY, continue_sequences
from timemachine.language.models.build import build_language_model
from timemachine.pipeline import params

VOCAB_SIZE, PREFIX_LENGTH = 28, 14


@torch.inference_mode()
def by_full_passes(model: nn.Module, prefixes: list[list[int]], num_preds: int) -> list[list[int]]:
    """Continue prefixes of one length with a forward pass over the whole text for each token."""
    text = torch.tensor(prefixes)
    for _ in range(num_preds):
        logits, _ = model(text)
        text = torch.cat([text, logits[:, -1:].argmax(-1)], 1)
    return text[:, PREFIX_LENGTH:].tolist()


def main() -> None:
    """Print the rates and their ratios, for one row and for many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="lstm")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--num-preds", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    recipe = params.load().train_rnn[options.recipe]
    model = build_language_model(recipe, VOCAB_SIZE, Generator().manual_seed(0)).eval()
    print(f"{options.recipe}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for rows in (1, options.rows):
        prefixes = torch.randint(VOCAB_SIZE, (rows, PREFIX_LENGTH)).tolist()

        def sampled(sampling: Sampling, prefixes: list[list[int]] = prefixes) -> list[list[int]]:
            return continue_sequences(model, prefixes, options.num_preds, sampling, Generator().manual_seed(0))

        sides: dict[str, Callable[[], list[list[int]]]] = {
            "full passes": lambda prefixes=prefixes: by_full_passes(model, prefixes, options.num_preds),  # type: ignore[misc]
            "carried state": lambda: sampled(GREEDY),
            "sampled": lambda: sampled(Sampling()),
            "sampled, top-k and nucleus": lambda: sampled(Sampling(alpha=1.2, top_k=10, top_p=0.9)),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.rounds + 1):
            for side, write in sides.items():
                begin = time.perf_counter()
                write()
                seconds[side].append(time.perf_counter() - begin)
        rates = {side: rows * options.num_preds / statistics.median(s[1:]) for side, s in seconds.items()}
        for side, rate in rates.items():
            print(f"{rows:3d} rows, {side}: {rate:,.0f} characters/s, {rate / rates['full passes']:.1f} times")


if __name__ == "__main__":
    main()
