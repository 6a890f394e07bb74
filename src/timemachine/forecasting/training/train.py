"""Train the autoregressive model of a recipe."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from timemachine.base.errors import UserError
from timemachine.forecasting.models.autoregressive import Standardized, build_bare
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array, Problem
from timemachine.training.devices import computing_in
from timemachine.training.loop import Callback, DivergenceError, Epoch, Loss, fit, make_optimizer
from timemachine.training.resume import Resumable


def location_and_scale(x: Array) -> tuple[float, float]:
    """Return the mean and the standard deviation of a series; the latter is 1 if the series is constant."""
    return float(x.mean()), float(x.std()) or 1.0


@contextmanager
def hinting_at_standardize(recipe: ArRecipe) -> Iterator[None]:
    """Add to the message of a training that diverges that `standardize: true` may help."""
    try:
        yield
    except DivergenceError as error:
        hint = "" if recipe.standardize else ", or set standardize: true"
        raise UserError(f"{error}{hint}") from error


def train_autoregressive(
    recipe: ArRecipe,
    x: Array,
    device: torch.device,
    callback: Callback | None = None,
    resumable: Resumable | None = None,
) -> tuple[nn.Module, list[Epoch]]:
    """Train the model that a recipe describes on the first feature-label pairs of a series.

    Args:
        recipe: an entry of `train_ar`.
        x: (T,) the series; only its first num_train + tau values are read.
        device: where to train.
        callback: called with each epoch when it ends.
        resumable: saves the state after each epoch, and restores that of an interrupted training.

    Returns:
        The model and its history. `loss` is the mean squared error during the epoch, `mse` that after it, both on
        the training pairs, and of the standardized series if the recipe has `standardize`.

    Raises:
        UserError: the series is too short, or the loss is not finite.
    """
    num_observed = recipe.num_train + recipe.tau
    if len(x) < num_observed:
        raise UserError(
            f"num_train: {recipe.num_train} + tau {recipe.tau} exceed the {len(x)} points of the series"
        )
    mean, std = location_and_scale(x[:num_observed]) if recipe.standardize else (0.0, 1.0)
    features, labels = Problem(recipe.tau, (1,)).pairs((x[None, :num_observed] - mean) / std)
    X = torch.tensor(features[0], dtype=torch.float32, device=device)  # (num_train, tau)
    y = torch.tensor(labels[0], dtype=torch.float32, device=device)  # (num_train, 1)
    generator = Generator().manual_seed(recipe.seed)
    model = build_bare(recipe, generator).to(device)

    def minibatches() -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(X), generator=generator).to(device)
        return [(X[chosen], y[chosen]) for chosen in order.split(recipe.batch_size)]

    def loss(predicted: Tensor, y: Tensor) -> Loss:
        squared = (predicted - y).square()
        total = squared.sum()  # minimised in the first edition; the second one minimises the mean of ½ squares
        return Loss(total if recipe.loss == "sum" else squared.mean() / 2, total.detach())

    @torch.inference_mode()
    def evaluate() -> dict[str, float]:
        return {"mse": float((model(X)[0] - y).square().mean())}

    with hinting_at_standardize(recipe), computing_in(recipe.precision, device):
        history = fit(
            model,
            minibatches,
            loss,
            make_optimizer(recipe.optimizer, model.parameters(), recipe.lr),
            recipe.num_epochs,
            evaluate=evaluate,
            callback=callback,
            generators={"weights and order": generator},
            resumable=resumable,
        )
    return Standardized(model, mean, std).to(device) if recipe.standardize else model, history


def history_rows(history: list[Epoch]) -> list[dict[str, float]]:
    """Return the history of an autoregressive model as rows of `history.csv`."""
    return [{"epoch": e.epoch, "loss": e.loss, **e.metrics} for e in history]
