"""One training loop for every model.

A model maps `(X, state)` to `(output, state)`; the loop decides what happens to the state between
minibatches, clips gradients and adds up the loss on the device, so that it waits for a GPU once per epoch.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from timemachine.models.state import State, detach

# What becomes of the state after a minibatch: dropped, carried over without its history (truncated
# backpropagation through time), or carried over with the history of the epoch (full).
StateFlow = Literal["fresh", "detached", "attached"]


@dataclass(frozen=True)
class Loss:
    """What an optimiser minimises and what a history reports.

    Attributes:
        objective: scalar to differentiate.
        total: the loss summed over all labels, detached.
    """

    objective: Tensor
    total: Tensor


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        epoch: number, from 1.
        loss: summed loss divided by the number of labels.
        num_labels: labels seen.
        seconds: wall-clock time, validation excluded.
        metrics: what `evaluate` returned.
    """

    epoch: int
    loss: float
    num_labels: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def labels_per_s(self) -> float:
        """Labels, or tokens, per second."""
        return self.num_labels / self.seconds


Callback = Callable[[Epoch], None]


def fit(
    model: nn.Module,
    minibatches: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    loss: Callable[[Tensor, Tensor], Loss],
    optimizer: torch.optim.Optimizer,
    num_epochs: int,
    *,
    state_flow: StateFlow = "fresh",
    clip_norm: float | None = None,
    evaluate: Callable[[], dict[str, float]] | None = None,
    callback: Callback | None = None,
) -> list[Epoch]:
    """Train a model in place and return its history.

    Args:
        model: maps `(X, state)` to `(output, state)`.
        minibatches: called once per epoch; yields pairs (X, Y) on the model's device.
        loss: maps (output, Y) to what is minimised and what is reported.
        optimizer: holds the model's parameters.
        num_epochs: how many.
        state_flow: what becomes of the state between minibatches. `attached` reads the epoch again from its
            start at every minibatch, with the weights of the moment, so its cost grows with the epoch.
        clip_norm: largest norm θ of the gradient over all parameters, g ← min(1, θ/‖g‖) g.
        evaluate: called after each epoch.
        callback: takes each epoch as it ends.

    Raises:
        ValueError: a loss, a metric or a weight is no longer finite.
    """
    parameters = list(model.parameters())
    history = []
    for number in range(1, num_epochs + 1):
        begin = time.perf_counter()
        model.train()
        state: State = None
        seen: list[Tensor] = []
        totals: list[Tensor] = []
        num_labels = 0
        for X, Y in minibatches():
            if state_flow == "attached":
                seen.append(X)
                output, _ = model(torch.cat(seen, 1))
                output = output[:, -X.shape[1] :]
            else:
                output, state = model(X, detach(state) if state_flow == "detached" else None)
            current = loss(output, Y)
            optimizer.zero_grad(set_to_none=True)
            current.objective.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            totals.append(current.total)
            num_labels += Y.numel()
        size = torch.stack([parameter.detach().abs().max() for parameter in parameters]).max()
        total, largest = torch.stack([torch.stack(totals).sum(dtype=torch.float64), size.double()]).tolist()
        seconds = time.perf_counter() - begin
        metrics = evaluate() if evaluate and math.isfinite(largest) else {}
        if not all(map(math.isfinite, (total, largest, *metrics.values()))):
            raise ValueError(
                f"the training diverged in epoch {number}: the loss or a weight is no finite number; lower lr"
            )
        epoch = Epoch(number, total / num_labels, num_labels, seconds, metrics)
        history.append(epoch)
        if callback:
            callback(epoch)
    return history


def make_optimizer(name: str, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return plain SGD, Adam or AdamW over a model's parameters."""
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[name](model.parameters(), lr=lr)
