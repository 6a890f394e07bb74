"""Gates that cut backpropagation through time, and training with each of the three truncations of the book."""

import torch
from torch import Generator, Tensor

from timemachine.gradients.config import BpttParams
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.language.training.train import cross_entropy
from timemachine.text.tokens.minibatches import sequential_partitioning
from timemachine.training.loop import fit, make_optimizer

TRUNCATIONS = ("full", "truncated", "randomised")


def truncated_gates(num_steps: int, tau: int, offset: int = 0) -> Tensor:
    """Return gates (num_steps,) that are 0, a cut, at the steps offset, offset ± tau, …, and 1 elsewhere."""
    return ((torch.arange(num_steps) - offset) % tau != 0).double()


def randomised_gates(num_steps: int, tau: float, generator: Generator) -> Tensor:
    """Draw gates (num_steps,) on the generator's device: 0 with probability 1/tau, else 1/π with π = 1 − 1/tau.

    The mean of a gate is 1, and the mean length of a segment is tau steps.
    """
    pi = 1 - 1 / tau
    probabilities = torch.full((num_steps,), pi, dtype=torch.float64, device=generator.device)
    return torch.bernoulli(probabilities, generator=generator) / pi


def train_truncated(
    params: BpttParams, truncation: str, tokens: Tensor, vocab_size: int, seed: int
) -> list[float]:
    """Train the small network of `bptt.training`, and return its loss of each epoch in nats per token.

    The seed fixes the initial weights and the order of the text, which are the same for each truncation. The gates
    have a generator of their own. The state is carried from minibatch to minibatch and detached between them.

    Args:
        params: the section `bptt`.
        truncation: one of `TRUNCATIONS`, where the gradient is cut within a minibatch.
        tokens: (num_train,) indices, on the device to train on.
        vocab_size: number of tokens.
        seed: one of `bptt.training.seeds`.

    Raises:
        UserError: too few tokens, or a loss that is not finite.
    """
    p, T, device = params.training, params.num_steps, tokens.device
    seeds = torch.randint(2**62, (3,), generator=Generator().manual_seed(seed)).tolist()
    weights, order = (Generator().manual_seed(s) for s in seeds[:2])
    cuts = Generator(device).manual_seed(seeds[2])
    regular = truncated_gates(T, params.tau).to(device)
    draw = {
        "full": lambda: None,
        "truncated": lambda: regular,
        "randomised": lambda: randomised_gates(T, params.tau, cuts),
    }
    model = RNNScratch(vocab_size, p.num_hiddens, generator=weights).to(device)
    model.register_forward_pre_hook(lambda _, X_and_state: (*X_and_state, draw[truncation]()))  # at each call
    history = fit(
        model,
        lambda: sequential_partitioning(tokens, p.batch_size, T, order),
        cross_entropy,
        make_optimizer("sgd", model.parameters(), p.lr),
        p.num_epochs,
        state_flow="detached",
        clip_norm=p.clip_norm,
        generators={"order": order, "cuts": cuts},
    )
    return [epoch.loss for epoch in history]
