from typing import Any

import pytest
import torch

from timemachine.models.autoregressive import build_autoregressive

CONFIGS = [
    {"model": "linear", "tau": 4, "num_hiddens": None},
    {"model": "mlp", "tau": 4, "num_hiddens": 10},
    {"model": "rnn", "tau": 4, "num_hiddens": 10},
]


@pytest.mark.parametrize(("config", "num_parameters"), list(zip(CONFIGS, [5, 61, 141], strict=True)))
def test_models_have_the_books_sizes_and_give_one_prediction_a_row(
    config: dict[str, Any], num_parameters: int
) -> None:
    model = build_autoregressive(config, torch.Generator().manual_seed(0))
    predicted, state = model(torch.rand(3, 4))
    assert predicted.shape == (3,)
    assert state is None
    assert sum(p.numel() for p in model.parameters()) == num_parameters


def test_the_mlp_starts_xavier_uniform() -> None:
    model = build_autoregressive(CONFIGS[1], torch.Generator().manual_seed(0))
    bound = (6 / 14) ** 0.5
    assert 0.8 * bound < model.hidden.weight.abs().max() <= bound
    assert model.hidden.bias.abs().max() == 0
