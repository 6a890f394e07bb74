"""Tokens per second of our training compared with the plain loop of the book, for both implementations.

Both sides train on the same minibatches in one run, in turn, and medians over the rounds are printed, together
with the rate of the matrix products of the recurrence alone, which is an upper limit.

Run: python benchmarks/training.py [--rounds N] [--device auto|cpu|cuda|cuda:N]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.train import cross_entropy
from timemachine.text.tokens.minibatches import sequential_partitioning
from timemachine.training.devices import choose_device
from timemachine.training.loop import fit, make_optimizer
from timemachine.training.state import State, detach

VOCAB_SIZE, NUM_TOKENS, BATCH_SIZE, NUM_STEPS = 28, 10_000, 32, 35
NUM_HIDDENS: dict[Literal["scratch", "concise"], int] = {"scratch": 512, "concise": 256}


class PlainScratch(nn.Module):
    """The recurrent network of the book from scratch, with a loop over time steps and one-hot inputs."""

    def __init__(self, num_hiddens: int) -> None:
        super().__init__()
        sizes = ((VOCAB_SIZE, num_hiddens), (num_hiddens, num_hiddens), (num_hiddens, VOCAB_SIZE))
        self.W_xh, self.W_hh, self.W_hq = (nn.Parameter(0.01 * torch.randn(*size)) for size in sizes)
        self.b_h, self.b_q = nn.Parameter(torch.zeros(num_hiddens)), nn.Parameter(torch.zeros(VOCAB_SIZE))

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to outputs (num_steps × batch, vocab) and the state."""
        H = state if isinstance(state, Tensor) else X.new_zeros(len(X), len(self.b_h), dtype=torch.float32)
        outputs = []
        for X_t in F.one_hot(X.T, VOCAB_SIZE).float():
            H = torch.tanh(torch.mm(X_t, self.W_xh) + torch.mm(H, self.W_hh) + self.b_h)
            outputs.append(torch.mm(H, self.W_hq) + self.b_q)
        return torch.cat(outputs), H


class PlainConcise(nn.Module):
    """The recurrent network of the book with the layers of torch."""

    def __init__(self, num_hiddens: int) -> None:
        super().__init__()
        self.rnn, self.linear = nn.RNN(VOCAB_SIZE, num_hiddens), nn.Linear(num_hiddens, VOCAB_SIZE)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to outputs (num_steps × batch, vocab) and the state."""
        H, state = self.rnn(F.one_hot(X.T, VOCAB_SIZE).float(), state)
        return self.linear(H.reshape(-1, H.shape[-1])), state


def plain_epoch(model: nn.Module, tokens: Tensor) -> None:
    """Train one epoch with the loop of the book."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    state: State = None
    for X, Y in sequential_partitioning(tokens, BATCH_SIZE, NUM_STEPS, None):
        outputs, state = model(X, detach(state))
        optimizer.zero_grad()
        F.cross_entropy(outputs, Y.T.reshape(-1)).backward()
        norm = torch.sqrt(sum(torch.sum(p.grad**2) for p in model.parameters()))  # type: ignore[arg-type,operator,misc]
        if norm > 1:
            for parameter in model.parameters():
                parameter.grad[:] *= 1 / norm  # type: ignore[index]
        optimizer.step()


def our_epoch(model: nn.Module, tokens: Tensor) -> None:
    """Train one epoch with the loop of the pipeline."""
    fit(
        model,
        lambda: sequential_partitioning(tokens, BATCH_SIZE, NUM_STEPS, None),
        cross_entropy,
        make_optimizer("sgd", model.parameters(), 1.0),
        1,
        state_flow="detached",
        clip_norm=1.0,
    )


def products_epoch(num_hiddens: int, device: torch.device) -> None:
    """Compute only the matrix products of the recurrence for an epoch: H W_hh, δ W_hhᵀ and Σ Hᵀ δ."""
    H, delta = torch.randn(2, NUM_STEPS, BATCH_SIZE, num_hiddens, device=device).unbind(0)
    W_hh = torch.randn(num_hiddens, num_hiddens, device=device)
    for _ in range((NUM_TOKENS - 1) // BATCH_SIZE // NUM_STEPS):
        for H_t in H:
            H_t @ W_hh
        for delta_t in delta:
            delta_t @ W_hh.T
        H.flatten(0, 1).T @ delta.flatten(0, 1)


def tokens_per_s(epoch: Callable[[], None], device: torch.device) -> float:
    """Return the tokens per second of one epoch."""
    num_tokens = (NUM_TOKENS - 1) // BATCH_SIZE // NUM_STEPS * BATCH_SIZE * NUM_STEPS
    begin = time.perf_counter()
    epoch()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return num_tokens / (time.perf_counter() - begin)


def main() -> None:
    """Print a line for each implementation: both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    tokens = torch.randint(VOCAB_SIZE, (NUM_TOKENS,), device=device)
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for implementation, num_hiddens in NUM_HIDDENS.items():
        recipe = RnnRecipe(
            corpus="lines",
            sampling="sequential",
            batch_size=BATCH_SIZE,
            num_steps=NUM_STEPS,
            implementation=implementation,
            num_hiddens=num_hiddens,
            num_epochs=1,
            lr=1.0,
        )
        plain = (PlainScratch if implementation == "scratch" else PlainConcise)(num_hiddens).to(device)
        ours = build_language_model(recipe, VOCAB_SIZE).to(device)
        sides: dict[str, Callable[[], None]] = {
            "plain": partial(plain_epoch, plain, tokens),
            "ours": partial(our_epoch, ours, tokens),
            "products": partial(products_epoch, num_hiddens, device),
        }
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.rounds + 1):
            for side, epoch in sides.items():
                rates[side].append(tokens_per_s(epoch, device))
        median = {
            side: statistics.median(values[1:]) for side, values in rates.items()
        }  # the first round is a warm-up
        print(
            f"{implementation} {num_hiddens}: plain {median['plain']:,.0f} tokens/s, ours {median['ours']:,.0f}, "
            f"ratio {median['ours'] / median['plain']:.2f}; matrix products alone {median['products']:,.0f}, "
            f"of which ours reaches {median['ours'] / median['products']:.0%} (medians of {options.rounds})"
        )


if __name__ == "__main__":
    main()
