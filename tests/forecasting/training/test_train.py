import numpy as np
import pytest
import torch
from graph import ROOT

from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.training.train import train_autoregressive
from timemachine.pipeline import params

CPU = torch.device("cpu")
RECIPES = params.load(ROOT / "params.yaml").train_ar


def test_the_mlp_learns_as_the_first_edition_published() -> None:
    published = [0.081, 0.064, 0.057, 0.056, 0.053]
    losses = []
    for seed in range(5):
        recipe = RECIPES["mlp"].model_copy(update={"seed": seed})
        _, history = train_autoregressive(recipe, noisy_sine(1000, 0.01, 0.2, seed).x, CPU)
        losses.append([epoch.metrics["mse"] for epoch in history])
    assert np.median(losses, axis=0) == pytest.approx(np.array(published), rel=0.2)


@pytest.mark.parametrize("name", ["linear", "mlp", "rnn"])
def test_every_model_ends_near_the_noise(name: str) -> None:
    _, history = train_autoregressive(RECIPES[name], noisy_sine(1000, 0.01, 0.2, 0).x, CPU)
    assert 0.2**2 < history[-1].metrics["mse"] < 0.1


def test_only_the_observed_part_is_read() -> None:
    x = noisy_sine(1000, 0.01, 0.2, 0).x
    other = x.copy()
    other[604:] = 99
    weights = [train_autoregressive(RECIPES["mlp"], series, CPU)[0].state_dict() for series in (x, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_series_that_is_too_short_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"num_train: 600 \+ tau 4 exceed the 603 points"):
        train_autoregressive(RECIPES["linear"], np.zeros(603), CPU)
