"""Autoregressive models of one recipe trained side by side: many series, many horizons, one minibatch for all.

A strategy may need a model for each of 64 horizons, and a comparison each of them for 20 series; trained one after
another they would take most of an hour. All weights get leading dimensions (series, problem), torch's vmap runs
the recipe's own module over them, and the training loop sees one model.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap

from timemachine.forecasting.models.autoregressive import Autoregressive, build_bare
from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Array, Predict, Problem, Regressor
from timemachine.forecasting.training.train import location_and_scale, saying_standardize
from timemachine.training.loop import Loss, fit, make_optimizer
from timemachine.training.state import State


def trained(recipe: ArRecipe, device: torch.device) -> Regressor:
    """Return the regressor that trains a recipe's model by gradient descent, as `train_autoregressive` does.

    Series i begins with the weights and takes the minibatches of seed `recipe.seed` + i. The problem with most
    pairs is trained exactly as alone; those with fewer take its minibatches, less the pairs that they lack. The
    recipe's τ and number of pairs do not count: a problem has its own width, and all pairs of the series.

    Args:
        recipe: an entry of `train_ar`.
        device: where to train.
    """

    def fit_all(x: Array, problems: Sequence[Problem]) -> list[Predict]:
        # Zeros behind a window do nothing where it is multiplied by weights, but a recurrent model reads them.
        if len({problem.width for problem in problems}) == 1 or recipe.model != "rnn":
            return _fit_side_by_side(recipe, x, problems, device)
        return [_fit_side_by_side(recipe, x, [problem], device)[0] for problem in problems]

    return fit_all


class SideBySide(nn.Module):
    """Models of the same shape but for the width of their features, run at once.

    Args:
        models: for each series one model for each problem; the narrower ones' input weights are filled up with
            zeros, as their features are, so that nothing flows there.
        widths: of the features, by problem.
    """

    def __init__(self, models: Sequence[Sequence[Autoregressive]], widths: Sequence[int]) -> None:
        super().__init__()
        widest = models[0][int(np.argmax(widths))]

        def one(weights: Mapping[str, Tensor], X: Tensor) -> Tensor:
            predicted: Tensor = functional_call(widest, dict(weights), (X,))[0]
            return predicted

        self._one = one  # a function, because a module here would have its own weights trained
        self._names = {name.replace(".", "/"): name for name, _ in widest.named_parameters()}
        self.weights = nn.ParameterDict()
        for key, name in self._names.items():
            shape = widest.get_parameter(name).shape
            rows = [[_filled_up(model.get_parameter(name), shape) for model in row] for row in models]
            self.weights[key] = nn.Parameter(torch.stack([torch.stack(row) for row in rows]))
        self.mask: Tensor
        self.register_buffer("mask", torch.arange(max(widths)) < torch.tensor(widths)[:, None, None])

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (num_series, batch, widest) to predictions (num_series, num_problems, batch, num_outputs).

        The first features of a row are a problem's own; those beyond its width do not count.
        """
        masked = X[:, None] * self.mask  # (num_series, num_problems, batch, widest)
        weights = {name: self.weights[key] for key, name in self._names.items()}
        return vmap(vmap(self._one))(weights, masked), None

    @torch.inference_mode()
    def predict(self, problem: int, X: Tensor) -> Tensor:
        """Map features (num_series, n, width of the problem) to predictions (num_series, n, num_outputs)."""
        weights = {name: self.weights[key][:, problem] for key, name in self._names.items()}
        return vmap(self._one)(weights, nn.functional.pad(X, (0, self.mask.shape[-1] - X.shape[-1])))


def _filled_up(weight: Tensor, shape: torch.Size) -> Tensor:
    return nn.functional.pad(weight.detach(), (0, shape[-1] - weight.shape[-1]))


def _fit_side_by_side(
    recipe: ArRecipe, x: Array, problems: Sequence[Problem], device: torch.device
) -> list[Predict]:
    """Train a model for each series and problem; a problem with fewer pairs skips those that it lacks."""
    location, scale = np.zeros(len(x)), np.ones(len(x))
    if recipe.standardize:
        location, scale = np.array([location_and_scale(one) for one in x]).T
    location, scale = location[:, None, None], scale[:, None, None]
    features, labels = _pairs((x - location[..., 0]) / scale[..., 0], problems)
    X = torch.tensor(features, dtype=torch.float32, device=device)
    Y = torch.tensor(labels, dtype=torch.float32, device=device)

    widths, num_outputs = [problem.width for problem in problems], len(problems[0].ahead)
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
        # The mean is over pairs; every output is a regression of its own.
        counts = known.sum(-2, keepdim=True).clamp(min=1)
        return Loss((squared / counts).sum() / 2, total)

    optimizer = make_optimizer(recipe.optimizer, model.parameters(), recipe.lr)
    with saying_standardize(recipe):
        fit(model, minibatches, loss, optimizer, recipe.num_epochs)

    def predictor(k: int) -> Predict:
        def predict(features: Array) -> Array:
            X = torch.tensor((features - location) / scale, dtype=torch.float32, device=device)
            return model.predict(k, X).cpu().numpy().astype(np.float64) * scale + location

        return predict

    return [predictor(k) for k in range(len(problems))]


def _pairs(x: Array, problems: Sequence[Problem]) -> tuple[Array, Array]:
    """Return the pairs of all problems, the first of which has the most.

    Returns:
        Windows (num_series, num_pairs, widest): those of all problems begin at the same observations, so that the
        widest hold the others. Labels (num_series, num_problems, num_pairs, num_outputs), NaN where a problem has
        none.
    """
    num_series, num_points = x.shape
    num_pairs = problems[0].num_pairs(num_points)
    features = np.zeros((num_series, num_pairs, max(problem.width for problem in problems)))
    labels = np.full((num_series, len(problems), num_pairs, len(problems[0].ahead)), np.nan)
    for k, problem in enumerate(problems):
        windows, ahead = problem.pairs(x)
        features[:, : windows.shape[1], : problem.width] = windows
        labels[:, k, : ahead.shape[1]] = ahead
    return features, labels


def _models(
    recipe: ArRecipe, widths: Sequence[int], num_outputs: int, generator: Generator
) -> list[Autoregressive]:
    """Make a series' models, all from one state of its generator, left as the first model alone leaves it."""
    begin = generator.get_state()
    models = []
    for width in reversed(widths):
        generator.set_state(begin)
        models.append(build_bare(recipe.model_copy(update={"tau": width}), generator, num_outputs))
    return models[::-1]
