"""One training loop for every model.

A model maps `(X, state)` to `(output, state)`; the loop decides what happens to the state between
minibatches, clips gradients and adds up the loss on the device, so that it waits for a GPU once per epoch.
It may change the learning rate as it goes, stop when a metric no longer falls, and keep the best weights.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from timemachine.models.state import State, detach
from timemachine.training.optimisers import Optimizer

# What becomes of the state after a minibatch: dropped, carried over without its history (truncated
# backpropagation through time), or carried over with the history of the epoch (full).
StateFlow = Literal["fresh", "detached", "attached"]


class DivergenceError(ValueError):
    """A loss, a metric or a weight is no longer finite.

    Attributes:
        epoch: in which that was seen.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(
            f"the training diverged in epoch {epoch}: the loss or a weight is no finite number; lower lr"
        )
        self.epoch = epoch


class Pairs(Protocol):
    """The minibatches (X, Y) of an epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


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
# Maps the part of the training that is done, from 0 to 1, to a factor of the learning rate.
Schedule = Callable[[float], float]


def constant(done: float) -> float:
    """Leave the learning rate as it is."""
    return 1.0


def warmup_cosine(warmup: float) -> Schedule:
    """Return a schedule that rises linearly over the first `warmup` of the training and falls as a cosine to 0."""

    def factor(done: float) -> float:
        if done < warmup:
            return done / warmup
        return (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2

    return factor


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop before the last epoch; the weights of the best epoch are put back in any case.

    Attributes:
        metric: what `evaluate` returns under this name; the lowest is best.
        patience: epochs without a new lowest value after which the training stops.
    """

    metric: str
    patience: int


def fit(
    model: nn.Module,
    minibatches: Callable[[], Pairs],
    loss: Callable[[Tensor, Tensor], Loss],
    optimizer: Optimizer,
    num_epochs: int,
    *,
    state_flow: StateFlow = "fresh",
    schedule: Schedule = constant,
    clip_norm: float | None = None,
    evaluate: Callable[[], dict[str, float]] | None = None,
    early_stopping: EarlyStopping | None = None,
    callback: Callback | None = None,
) -> list[Epoch]:
    """Train a model in place and return its history.

    Args:
        model: maps `(X, state)` to `(output, state)`.
        minibatches: called once per epoch; returns pairs (X, Y) on the model's device.
        loss: maps (output, Y) to what is minimised and what is reported.
        optimizer: holds the model's parameters, and the learning rate that `schedule` scales.
        num_epochs: how many at most.
        state_flow: what becomes of the state between minibatches. `attached` reads the epoch again from its
            start at every minibatch, with the weights of the moment, so its cost grows with the epoch.
        schedule: factor of the learning rate, by how much of `num_epochs` is done.
        clip_norm: largest norm θ of the gradient over all parameters, g ← min(1, θ/‖g‖) g.
        evaluate: called after each epoch.
        early_stopping: without it every epoch is run and the last weights stay.
        callback: takes each epoch as it ends.

    Raises:
        DivergenceError: a loss, a metric or a weight is no longer finite.
    """
    parameters = list(model.parameters())
    lr = optimizer.lr
    history: list[Epoch] = []
    best, best_weights = 0, {}
    for number in range(1, num_epochs + 1):
        begin = time.perf_counter()
        model.train()
        state: State = None
        seen: list[Tensor] = []
        totals: list[Tensor] = []
        num_labels = 0
        pairs = minibatches()
        for i, (X, Y) in enumerate(pairs):
            if state_flow == "attached":
                seen.append(X)
                output, _ = model(torch.cat(seen, 1))
                output = output[:, -X.shape[1] :]
            else:
                output, state = model(X, detach(state) if state_flow == "detached" else None)
            current = loss(output, Y)
            model.zero_grad(set_to_none=True)
            current.objective.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.lr = lr * schedule((number - 1 + (i + 0.5) / len(pairs)) / num_epochs)
            optimizer.step()
            totals.append(current.total)
            num_labels += Y.numel()
        size = torch.stack([parameter.detach().abs().max() for parameter in parameters]).max()
        total, largest = torch.stack([torch.stack(totals).sum(dtype=torch.float64), size.double()]).tolist()
        seconds = time.perf_counter() - begin
        metrics = evaluate() if evaluate and math.isfinite(largest) else {}
        if not all(map(math.isfinite, (total, largest, *metrics.values()))):
            raise DivergenceError(number)
        epoch = Epoch(number, total / num_labels, num_labels, seconds, metrics)
        history.append(epoch)
        if callback:
            callback(epoch)
        if early_stopping:
            metric = early_stopping.metric
            if not best or metrics[metric] < history[best - 1].metrics[metric]:
                best = number
                best_weights = {key: value.clone() for key, value in model.state_dict().items()}
            if number - best >= early_stopping.patience:
                break
    optimizer.lr = lr
    if early_stopping:
        model.load_state_dict(best_weights)
    return history
