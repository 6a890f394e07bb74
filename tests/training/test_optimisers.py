import pytest
import torch

from timemachine.training.optimisers import make_optimizer

TORCHS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize("name", TORCHS)
def test_the_steps_are_those_of_torchs_optimisers(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    initial = [torch.randn(7, 5, generator=generator), torch.randn(5, generator=generator)]
    ours, theirs = ([w.clone().requires_grad_() for w in initial] for _ in range(2))
    settings = {"weight_decay": 0.1} if name == "adamw" else {}
    optimizers = (
        make_optimizer(name, ours, 0.05, weight_decay=0.1),
        TORCHS[name](theirs, lr=0.05, **settings),
    )
    for _ in range(20):
        for weights, optimizer in zip((ours, theirs), optimizers, strict=True):
            for w in weights:
                w.grad = w.detach().sin() + 0.1
            optimizer.step()
    for mine, torchs in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-6, atol=1e-7)
