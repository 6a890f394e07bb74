import pytest
import torch
from graph import ROOT
from torch.func import functional_call, vmap

from timemachine.forecasting.models.autoregressive import build_bare
from timemachine.pipeline import params

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


def test_the_rnn_is_torchs() -> None:
    model = build_bare(RECIPES["rnn"], torch.Generator().manual_seed(0))
    X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    H, _ = model.rnn(X.T[..., None])  # (tau, batch, num_hiddens)
    assert torch.allclose(model(X)[0], model.output(H[-1]), atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "mlp", "rnn"])
def test_models_run_stacked(name: str) -> None:
    models = [build_bare(RECIPES[name], torch.Generator().manual_seed(seed)) for seed in range(2)]
    stacked = {key: torch.stack([m.get_parameter(key) for m in models]) for key, _ in models[0].named_parameters()}
    X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    together = vmap(lambda weights: functional_call(models[0], weights, (X,))[0])(stacked)
    assert torch.allclose(together, torch.stack([model(X)[0] for model in models]), atol=1e-6)
