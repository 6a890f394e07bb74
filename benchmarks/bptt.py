"""Time and memory of a minibatch with full, truncated and randomised backpropagation through time.

The state is detached at each cut, and the backward pass of a segment runs as soon as the segment ends, which frees
its states. All three run in turn on the same minibatch, and medians over the rounds are printed. Memory is the
size of the tensors that autograd saves for the largest segment.

Run: python benchmarks/bptt.py [--rounds N] [--device auto|cpu|cuda|cuda:N]
"""

import argparse
import statistics
import time
from itertools import pairwise

import torch
from torch import Generator, Tensor

from timemachine.gradients.truncation import TRUNCATIONS, randomised_gates, truncated_gates
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.language.training.train import cross_entropy
from timemachine.training.devices import choose_device
from timemachine.training.state import State, detach

VOCAB_SIZE, NUM_HIDDENS, BATCH_SIZE, NUM_STEPS, TAU = 28, 512, 32, 32, 8


def segment_lengths(gates: Tensor) -> list[int]:
    """Return the numbers of steps between the cuts of gates (num_steps,)."""
    cuts = [0, *(t for t, gate in enumerate(gates.tolist()) if t and gate == 0), len(gates)]
    return [end - begin for begin, end in pairwise(cuts)]


def backward(model: RNNScratch, X: Tensor, Y: Tensor, lengths: list[int]) -> int:
    """Accumulate the gradients of a minibatch by segments; return the bytes saved for the largest segment."""
    model.zero_grad()
    state: State = None
    most = 0
    for X_part, Y_part in zip(X.split(lengths, 1), Y.split(lengths, 1), strict=True):
        saved: dict[int, int] = {}

        def save(tensor: Tensor, saved: dict[int, int] = saved) -> Tensor:
            storage = tensor.untyped_storage()  # views of one buffer are counted once
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            logits, state = model(X_part, detach(state))
            loss = cross_entropy(logits, Y_part).objective * (Y_part.numel() / Y.numel())
        loss.backward()
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        most = max(most, sum(size for pointer, size in saved.items() if pointer not in weights))
    return most


def main() -> None:
    """Print a line for each truncation: median time and bytes, and their ratios to full backpropagation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    generator = Generator().manual_seed(0)
    model = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, generator=generator).to(device)
    text = torch.randint(VOCAB_SIZE, (BATCH_SIZE, NUM_STEPS + 1), generator=generator).to(device)
    seconds: dict[str, list[float]] = {truncation: [] for truncation in TRUNCATIONS}
    saved: dict[str, list[int]] = {truncation: [] for truncation in TRUNCATIONS}
    for _ in range(options.rounds + 1):
        gates = {
            "full": torch.ones(NUM_STEPS),
            "truncated": truncated_gates(NUM_STEPS, TAU),
            "randomised": randomised_gates(NUM_STEPS, TAU, generator),
        }
        for truncation in TRUNCATIONS:
            lengths = segment_lengths(gates[truncation])
            begin = time.perf_counter()
            saved[truncation].append(backward(model, text[:, :-1], text[:, 1:], lengths))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[truncation].append(time.perf_counter() - begin)
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    # The first round warms up.
    times = {truncation: statistics.median(some[1:]) for truncation, some in seconds.items()}
    sizes = {truncation: statistics.median(some[1:]) for truncation, some in saved.items()}
    for truncation in TRUNCATIONS:
        print(
            f"{truncation}: {1000 * times[truncation]:.1f} ms, ratio {times[truncation] / times['full']:.2f}; "
            f"{sizes[truncation] / 2**20:.2f} MiB, ratio {sizes[truncation] / sizes['full']:.2f} "
            f"(medians of {options.rounds})"
        )


if __name__ == "__main__":
    main()
