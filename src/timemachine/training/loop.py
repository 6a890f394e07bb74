"""One training loop for every model.

A model maps `(X, state)` to `(output, state)`; the loop decides what happens to the state between
minibatches, clips gradients and adds up the loss on the device, so that it waits for a GPU once per epoch. A GPU
runs the step of a minibatch as one CUDA graph.
It can follow a schedule of the learning rate, stop when a metric no longer falls, keep the best weights, and
resume a training that was interrupted.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from timemachine.base.errors import UserError
from timemachine.training.data_parallel import ALONE, Ranks
from timemachine.training.graphs import Captured
from timemachine.training.resume import Resumable, Snapshot
from timemachine.training.state import State, detach

# How the state passes from a minibatch to the next: not at all, without its history (truncated backpropagation
# through time), or with the history of the whole epoch (full).
StateFlow = Literal["fresh", "detached", "attached"]


class DivergenceError(UserError):
    """A loss, a metric or a weight is no longer finite.

    Attributes:
        epoch: the epoch in which it happened, from 1.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the training diverged in epoch {epoch}: the loss or a weight is not finite; lower lr")
        self.epoch = epoch


class Pairs(Sized, Iterable[tuple[Tensor, Tensor]], Protocol):
    """The minibatches (X, Y) of an epoch."""


@dataclass(frozen=True)
class Loss:
    """What an optimizer minimises and what a history reports.

    Attributes:
        objective: scalar to differentiate.
        total: the loss summed over all labels, detached.
    """

    objective: Tensor
    total: Tensor


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch.

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


def make_optimizer(name: str, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.01) -> Optimizer:
    """Return torch's optimizer of this name, in its `foreach` form, or on a GPU in its `fused` form.

    On a GPU the learning rate is in a tensor and Adam and AdamW are capturable, so that a CUDA graph can hold the
    update and a schedule can change the learning rate.

    Args:
        name: `sgd`, `adam` or `adamw`.
        parameters: updated in place.
        lr: learning rate, before a schedule scales it.
        weight_decay: λ of AdamW; the others do not decay weights.
    """
    parameters = list(parameters)
    on_gpu = parameters[0].is_cuda
    rate = torch.tensor(lr, device=parameters[0].device) if on_gpu else lr
    form: dict[str, Any] = {"foreach": not on_gpu, "fused": on_gpu}
    if name == "sgd":
        return SGD(parameters, rate, **form)
    if name == "adam":
        return Adam(parameters, rate, capturable=on_gpu, **form)
    assert name == "adamw", name
    return AdamW(parameters, rate, weight_decay=weight_decay, capturable=on_gpu, **form)


def scheduler_of_epoch(
    optimizer: Optimizer, schedule: Schedule, epoch: int, num_epochs: int, num_minibatches: int
) -> LambdaLR:
    """Return a scheduler of the learning rate for one epoch, to be stepped between its minibatches.

    It evaluates the schedule in the middle of each minibatch. Every epoch has a scheduler of its own, because the
    number of minibatches may differ by one from epoch to epoch.
    """
    return LambdaLR(optimizer, lambda i: schedule((epoch - 1 + (i + 0.5) / num_minibatches) / num_epochs))


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop before the last epoch; the weights of the best epoch are put back in any case.

    Attributes:
        metric: what `evaluate` returns under this name; the lowest is best.
        patience: epochs without a new lowest value after which the training stops.
    """

    metric: str
    patience: int


class Training:
    """What changes in a training from epoch to epoch, so that it can be saved and resumed.

    The learning rate is not part of it: it follows from the number of the epoch.

    Args:
        model: with its weights.
        optimizer: with its state.
        generators: by name, all that the training draws from.

    Attributes:
        history: of the epochs done.
        best: the epoch with the lowest value of the metric of early stopping; 0 without one.
        best_weights: those after it.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, generators: Mapping[str, Generator]) -> None:
        self.model, self.optimizer, self.generators = model, optimizer, generators
        self.history: list[Epoch] = []
        self.best, self.best_weights = 0, dict[str, Tensor]()

    def snapshot(self) -> Snapshot:
        """Return all of it; the tensors are not copied."""
        parts = {
            "model": self.model.state_dict(),
            "optimizer": {
                f"{index}/{name}": tensor
                for index, named in self.optimizer.state_dict()["state"].items()
                for name, tensor in named.items()
            },
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "best": self.best_weights,
        }
        tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        facts = {"history": list(self.history), "best": self.best}
        return Snapshot(len(self.history), tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same training."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "generators": {}, "best": {}}
        for key, tensor in snapshot.tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        self.model.load_state_dict(parts["model"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in parts["optimizer"].items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        for name, generator in self.generators.items():
            generator.set_state(parts["generators"][name])
        self.history = [Epoch(**epoch) for epoch in snapshot.facts["history"]]
        self.best, self.best_weights = snapshot.facts["best"], parts["best"]

    def compare(self, metric: str) -> None:
        """Keep the weights if the last epoch is the best so far."""
        history = self.history
        if not self.best or history[-1].metrics[metric] < history[self.best - 1].metrics[metric]:
            self.best = history[-1].epoch
            self.best_weights = {key: value.clone() for key, value in self.model.state_dict().items()}


@dataclass(frozen=True)
class Step:
    """The step of a minibatch: forward pass, backward pass, clipping and update.

    Attributes:
        model: maps `(X, state)` to `(output, state)`.
        loss: maps (output, Y) to what is minimised and what is reported.
        optimizer: holds the model's parameters.
        clip_norm: largest norm of the gradient; None for no limit.
    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Loss]
    optimizer: Optimizer
    clip_norm: float | None = None

    def __call__(self, X: Tensor, Y: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the loss summed over the labels Y, and the new state, detached.

        X may have more time steps than Y, which are then the labels of the last ones.
        """
        output, state = self.model(X, state)
        if output.shape[1] > Y.shape[1]:
            output = output[:, -Y.shape[1] :]
        current = self.loss(output, Y)
        self.model.zero_grad(set_to_none=True)
        current.objective.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return current.total, detach(state)


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
    generators: Mapping[str, Generator] | None = None,
    resumable: Resumable | None = None,
    ranks: Ranks = ALONE,
) -> list[Epoch]:
    """Train a model in place and return its history.

    Args:
        model: maps `(X, state)` to `(output, state)`; on a GPU by operations that depend on nothing else than the
            shapes of X and the state (see `timemachine.training.graphs.Captured`).
        minibatches: called once per epoch; returns pairs (X, Y) on the model's device.
        loss: maps (output, Y) to what is minimised and what is reported.
        optimizer: holds the model's parameters, and the learning rate that `schedule` scales; on a GPU one of
            `make_optimizer`.
        num_epochs: how many at most.
        state_flow: what becomes of the state between minibatches. `attached` reads the epoch again from its
            start at every minibatch, with the weights of the moment, so its cost grows with the epoch.
        schedule: factor of the learning rate, by how much of `num_epochs` is done.
        clip_norm: largest norm θ of the gradient over all parameters, g ← min(1, θ/‖g‖) g.
        evaluate: called after each epoch.
        early_stopping: without it every epoch is run and the last weights stay.
        callback: takes each epoch as it ends; those of before an interruption again.
        generators: by name, all that model and minibatches draw from; needed on a GPU and by `resumable`.
        resumable: takes the state after each epoch, and has that of an interrupted training, which ends as if it
            had not been interrupted. Of several processes, only the first has it.
        ranks: the processes that share the rows of each minibatch. `minibatches` and `evaluate` return the same
            in all of them.

    Raises:
        DivergenceError: a loss, a metric or a weight is no longer finite.
    """
    parameters = list(model.parameters())
    generators, device = generators or {}, parameters[0].device
    training = Training(model, optimizer, generators)
    if snapshot := ranks.of_first(resumable.load() if resumable else None):
        training.restore(snapshot)
        if callback:
            for epoch in training.history:
                callback(epoch)
    step: Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
    step = Step(ranks.wrapped(model), ranks.weighted(loss), optimizer, clip_norm)
    # Attached, every minibatch has another shape. A graph of several processes would hold their exchange, too.
    if device.type == "cuda" and state_flow != "attached" and ranks.size == 1:
        assert all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)
        step = Captured(step, device, (g for g in generators.values() if g.device.type == "cuda"))
    for number in range(len(training.history) + 1, num_epochs + 1):
        if early_stopping and number - 1 - training.best >= early_stopping.patience:
            break
        begin = time.perf_counter()
        model.train()
        state: State = None
        seen: list[Tensor] = []
        total = torch.zeros((), dtype=torch.float64, device=device)
        num_labels = 0
        pairs = minibatches()
        scheduler = scheduler_of_epoch(optimizer, schedule, number, num_epochs, len(pairs))
        for i, (X, Y) in enumerate(pairs):
            if i:  # a new scheduler has set the first learning rate already
                scheduler.step()
            num_labels += Y.numel()
            X, Y = ranks.take(X, Y)
            if state_flow == "attached":
                seen.append(X)
                X = torch.cat(seen, 1)
            added, carried = step(X, Y, state)
            if state_flow == "detached":
                state = carried
            total += added
        size = torch.stack([parameter.detach().abs().max() for parameter in parameters]).max()
        ends = torch.stack([ranks.summed(total), size.double()])
        summed, largest = ends.tolist()  # the only wait for the device
        seconds = time.perf_counter() - begin
        metrics = evaluate() if evaluate and math.isfinite(largest) else {}
        if not all(map(math.isfinite, (summed, largest, *metrics.values()))):
            raise DivergenceError(number)
        epoch = Epoch(number, summed / num_labels, num_labels, seconds, metrics)
        training.history.append(epoch)
        if early_stopping:
            training.compare(early_stopping.metric)
        if resumable:
            resumable.update(training.snapshot())
        if callback:
            callback(epoch)
    model.zero_grad(set_to_none=True)  # gradients would keep the memory of a graph
    if early_stopping:
        model.load_state_dict(training.best_weights)
    return training.history
