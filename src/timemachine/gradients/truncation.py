"""Where backpropagation through time is cut, as gates, and training with each of the book's three strategies."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from timemachine.gradients.config import BpttParams
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.language.training.train import cross_entropy
from timemachine.text.minibatches import sequential_partitioning
from timemachine.training.loop import fit, make_optimizer
from timemachine.training.state import State

Strategy = Literal["full", "truncated", "randomised"]
STRATEGIES: Sequence[Strategy] = ("full", "truncated", "randomised")


def truncated_gates(num_steps: int, tau: int, offset: int = 0) -> Tensor:
    """Return gates (num_steps,) that cut before the steps offset, offset ± tau, …, counted from 0."""
    return ((torch.arange(num_steps) - offset) % tau != 0).double()


def randomised_gates(num_steps: int, tau: float, generator: Generator) -> Tensor:
    """Draw gates (num_steps,): ξ = 0 with probability 1/tau and 1/π with π = 1 − 1/tau, so that E ξ = 1.

    Segments then have tau steps on average.
    """
    pi = 1 - 1 / tau
    return torch.bernoulli(torch.full((num_steps,), pi, dtype=torch.float64), generator=generator) / pi


class Gated(nn.Module):
    """A model whose gradients pass through newly drawn gates at every call; only for training.

    Args:
        model: the network.
        draw: returns gates (num_steps,), or None for full backpropagation.
    """

    def __init__(self, model: RNNScratch, draw: Callable[[], Tensor | None]) -> None:
        super().__init__()
        self.model = model
        self.draw = draw

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to logits (batch, num_steps, vocab)."""
        return self.model(X, state, self.draw())


def train_by_strategy(
    params: BpttParams, strategy: Strategy, tokens: Tensor, vocab_size: int, seed: int
) -> list[float]:
    """Train the small network of `bptt.training` and return its loss in nats per token of each epoch.

    The seed alone fixes the initial weights and the order of the text, the same for every strategy; the cuts
    are drawn from a generator of their own. Between minibatches the state is carried and detached.

    Args:
        params: the section `bptt`.
        strategy: where the gradient is cut within a minibatch.
        tokens: (num_train,) indices.
        vocab_size: number of tokens.
        seed: one of `bptt.training.seeds`.

    Raises:
        UserError: too few tokens, or a loss that is not finite.
    """
    p, T = params.training, params.num_steps
    seeds = torch.randint(2**62, (3,), generator=Generator().manual_seed(seed)).tolist()
    weights, order, cuts = (Generator().manual_seed(s) for s in seeds)
    draw: dict[Strategy, Callable[[], Tensor | None]] = {
        "full": lambda: None,
        "truncated": lambda: truncated_gates(T, params.tau),
        "randomised": lambda: randomised_gates(T, params.tau, cuts),
    }
    model = Gated(RNNScratch(vocab_size, p.num_hiddens, generator=weights), draw[strategy])
    history = fit(
        model,
        lambda: sequential_partitioning(tokens, p.batch_size, T, order),
        cross_entropy,
        make_optimizer("sgd", model.parameters(), p.lr),
        p.num_epochs,
        state_flow="detached",
        clip_norm=p.clip_norm,
    )
    return [epoch.loss for epoch in history]
