"""Train the models of one recipe for many series and many horizons at once.

A strategy may need a model for each of 64 horizons, and a comparison needs all of them for 20 series. One after
another, these trainings would take most of an hour. Here all weights have leading dimensions (series, problem),
`torch.func.vmap` runs the recipe's module over them, and the training loop trains them as one model.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap

from timemachine.forecasting.models.autoregressive import Autoregressive, build_bare
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array, Predict, Problem, Regressor
from timemachine.forecasting.training.train import hinting_at_standardize, location_and_scale
from timemachine.training.devices import choose_device, computing_in
from timemachine.training.loop import Loss, fit, make_optimizer
from timemachine.training.state import State


def trained_regressor(recipe: ArRecipe) -> Regressor:
    """Return the regressor that trains a recipe's model by gradient descent, as `train_autoregressive` does.

    The models of series i have the initial weights and the minibatches of seed `recipe.seed` + i. The problem with
    most pairs is trained exactly as it would be alone; the others have the same minibatches without the pairs that
    they lack. `tau` and `num_train` of the recipe are ignored: a problem has its own width, and all pairs of the
    series are used.

    Args:
        recipe: an entry of `train_ar`; its device is chosen at once.

    Raises:
        UserError: this machine does not have that device.
    """
    device = choose_device(recipe.device)

    def fit_all(x: Array, problems: Sequence[Problem]) -> list[Predict]:
        # Windows are padded with zeros, which change nothing in a linear layer, but a recurrent model reads them.
        if len({problem.width for problem in problems}) == 1 or recipe.model != "rnn":
            return _fit_side_by_side(recipe, x, problems, device)
        return [_fit_side_by_side(recipe, x, [problem], device)[0] for problem in problems]

    return fit_all


class SideBySide(nn.Module):
    """Models that differ only in the width of their features, run at once.

    Args:
        models: for each series, one model for each problem. Narrower input weights are padded with zeros, and
            so are their features, so that no gradient reaches the padding.
        widths: number of features of each problem.
    """

    def __init__(self, models: Sequence[Sequence[Autoregressive]], widths: Sequence[int]) -> None:
        super().__init__()
        widest = models[0][int(np.argmax(widths))]

        def one(weights: Mapping[str, Tensor], X: Tensor) -> Tensor:
            predicted: Tensor = functional_call(widest, dict(weights), (X,))[0]
            return predicted

        self._one = one  # a function: the weights of a submodule would be trained too
        self._names = {name.replace(".", "/"): name for name, _ in widest.named_parameters()}
        self.weights = nn.ParameterDict()
        for key, name in self._names.items():
            shape = widest.get_parameter(name).shape
            rows = [[_padded(model.get_parameter(name), shape) for model in row] for row in models]
            self.weights[key] = nn.Parameter(torch.stack([torch.stack(row) for row in rows]))
        self.mask: Tensor
        self.register_buffer("mask", torch.arange(max(widths)) < torch.tensor(widths)[:, None, None])

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (num_series, batch, widest) to predictions (num_series, num_problems, batch, num_outputs).

        A problem uses the first features of a row, up to its width.
        """
        masked = X[:, None] * self.mask  # (num_series, num_problems, batch, widest)
        weights = {name: self.weights[key] for key, name in self._names.items()}
        return vmap(vmap(self._one))(weights, masked), None

    @torch.inference_mode()
    def predict(self, problem: int, X: Tensor) -> Tensor:
        """Map features (num_series, n, width of the problem) to predictions (num_series, n, num_outputs)."""
        weights = {name: self.weights[key][:, problem] for key, name in self._names.items()}
        return vmap(self._one)(weights, nn.functional.pad(X, (0, self.mask.shape[-1] - X.shape[-1])))


def _padded(weight: Tensor, shape: torch.Size) -> Tensor:
    return nn.functional.pad(weight.detach(), (0, shape[-1] - weight.shape[-1]))


def _fit_side_by_side(
    recipe: ArRecipe, x: Array, problems: Sequence[Problem], device: torch.device
) -> list[Predict]:
    """Train a model for each series and problem; the loss leaves out pairs that a problem does not have."""
    location, scale = np.zeros(len(x)), np.ones(len(x))
    if recipe.standardize:
        location, scale = np.array([location_and_scale(one) for one in x]).T
    location, scale = location[:, None, None], scale[:, None, None]
    widths, num_outputs = [problem.width for problem in problems], len(problems[0].ahead)
    # Of all problems: the first has the most pairs, and windows begin with those of the narrower problems.
    X = torch.zeros(len(x), problems[0].num_pairs(x.shape[1]), max(widths))
    Y = torch.full((len(x), len(problems), X.shape[1], num_outputs), math.nan)  # NaN where a problem has no pair
    standardized = (x - location[..., 0]) / scale[..., 0]
    for k, problem in enumerate(problems):
        windows, ahead = map(torch.tensor, problem.pairs(standardized))
        X[:, : windows.shape[1], : problem.width] = windows
        Y[:, k, : ahead.shape[1]] = ahead
    X, Y = X.to(device), Y.to(device)

    generators = [Generator().manual_seed(recipe.seed + i) for i in range(len(x))]
    rows = [_models(recipe, widths, num_outputs, generator) for generator in generators]
    model = SideBySide(rows, widths).to(device)
    series = torch.arange(len(x), device=device)[:, None]

    def minibatches() -> list[tuple[Tensor, Tensor]]:
        orders = torch.stack([torch.randperm(X.shape[1], generator=g) for g in generators]).to(device)
        return [(X[series, c], Y[series, :, c].transpose(1, 2)) for c in orders.split(recipe.batch_size, dim=1)]

    def loss(predicted: Tensor, Y: Tensor) -> Loss:
        known = ~Y.isnan()
        squared = torch.where(known, predicted - Y, 0.0).square()
        total = squared.detach().sum()
        if recipe.loss == "sum":
            return Loss(squared.sum(), total)
        # The mean is over pairs, for each output separately.
        counts = known.sum(-2, keepdim=True).clamp(min=1)
        return Loss((squared / counts).sum() / 2, total)

    optimizer = make_optimizer(recipe.optimizer, model.parameters(), recipe.lr)
    with hinting_at_standardize(recipe), computing_in(recipe.precision, device):
        fit(model, minibatches, loss, optimizer, recipe.num_epochs)

    def predict(k: int, features: Array) -> Array:
        X = torch.tensor((features - location) / scale, dtype=torch.float32, device=device)
        return model.predict(k, X).cpu().numpy().astype(np.float64) * scale + location

    return [partial(predict, k) for k in range(len(problems))]


def _models(
    recipe: ArRecipe, widths: Sequence[int], num_outputs: int, generator: Generator
) -> list[Autoregressive]:
    """Build the models of a series from the same generator state, and leave it as the first model alone would."""
    begin = generator.get_state()
    models = []
    for width in reversed(widths):
        generator.set_state(begin)
        models.append(build_bare(recipe.model_copy(update={"tau": width}), generator, num_outputs))
    return models[::-1]
