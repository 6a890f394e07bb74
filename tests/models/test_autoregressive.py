import pytest
import torch
from graph import ROOT

from timemachine import params
from timemachine.models.autoregressive import build_bare

RECIPES = params.load(ROOT / "params.yaml").train_ar


@pytest.mark.parametrize(("name", "num_parameters"), [("linear", 5), ("mlp", 61), ("rnn", 141)])
def test_models_have_the_books_sizes_and_give_one_prediction_a_row(name: str, num_parameters: int) -> None:
    model = build_bare(RECIPES[name], torch.Generator().manual_seed(0))
    predicted, state = model(torch.rand(3, 4))
    assert predicted.shape == (3, 1)
    assert state is None
    assert sum(p.numel() for p in model.parameters()) == num_parameters


def test_the_mlp_starts_xavier_uniform() -> None:
    model = build_bare(RECIPES["mlp"], torch.Generator().manual_seed(0))
    bound = (6 / 14) ** 0.5
    assert 0.8 * bound < model.hidden.weight.abs().max() <= bound
    assert model.hidden.bias.abs().max() == 0
