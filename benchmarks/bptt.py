"""Time and memory of one minibatch under full, truncated and randomised backpropagation, segments really dropped.

The state is detached at each cut and the segment before it goes backward at once, so that its states are let
go. All three run in turn on the same minibatch; medians over the rounds. Memory is what autograd saves for the
longest segment.

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
    """Return the steps between the cuts of gates (num_steps,)."""
    cuts = [0, *(t for t, gate in enumerate(gates.tolist()) if t and gate == 0), len(gates)]
    return [end - begin for begin, end in pairwise(cuts)]


def backward(model: RNNScratch, X: Tensor, Y: Tensor, lengths: list[int]) -> int:
    """Add up the gradients of a minibatch, segment by segment; return the most bytes saved for a segment."""
    model.zero_grad()
    state: State = None
    most = 0
    for X_part, Y_part in zip(X.split(lengths, 1), Y.split(lengths, 1), strict=True):
        saved: dict[int, int] = {}

        def save(tensor: Tensor, saved: dict[int, int] = saved) -> Tensor:
            storage = tensor.untyped_storage()  # several views of one buffer count once
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
    """Print a line per strategy: median time and bytes, each with its ratio to full backpropagation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    generator = Generator().manual_seed(0)
    model = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, generator=generator).to(device)
    text = torch.randint(VOCAB_SIZE, (BATCH_SIZE, NUM_STEPS + 1), generator=generator).to(device)
    seconds: dict[str, list[float]] = {strategy: [] for strategy in TRUNCATIONS}
    saved: dict[str, list[int]] = {strategy: [] for strategy in TRUNCATIONS}
    for _ in range(options.rounds + 1):
        gates = {
            "full": torch.ones(NUM_STEPS),
            "truncated": truncated_gates(NUM_STEPS, TAU),
            "randomised": randomised_gates(NUM_STEPS, TAU, generator),
        }
        for strategy in TRUNCATIONS:
            lengths = segment_lengths(gates[strategy])
            begin = time.perf_counter()
            saved[strategy].append(backward(model, text[:, :-1], text[:, 1:], lengths))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[strategy].append(time.perf_counter() - begin)
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    # The first round warms up.
    times = {strategy: statistics.median(some[1:]) for strategy, some in seconds.items()}
    sizes = {strategy: statistics.median(some[1:]) for strategy, some in saved.items()}
    for strategy in TRUNCATIONS:
        print(
            f"{strategy}: {1000 * times[strategy]:.1f} ms, ratio {times[strategy] / times['full']:.2f}; "
            f"{sizes[strategy] / 2**20:.2f} MiB, ratio {sizes[strategy] / sizes['full']:.2f} "
            f"(medians of {options.rounds})"
        )


if __name__ == "__main__":
    main()
