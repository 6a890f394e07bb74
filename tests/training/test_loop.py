import weakref

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from timemachine.training.devices import choose_device
from timemachine.training.loop import EarlyStopping, Epoch, Loss, fit, make_optimizer, warmup_cosine


class Weight(nn.Module):
    """Predicts its only weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, X: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        return self.w * X, None


def squared(output: torch.Tensor, Y: torch.Tensor) -> Loss:
    total = (output - Y).square().sum()
    return Loss(total, total.detach())


PAIRS = [(torch.ones(3, 1), torch.full((3, 1), 10.0)), (torch.ones(1, 1), torch.full((1, 1), 10.0))]


def train(clip_norm: float | None) -> tuple[Weight, list[Epoch]]:
    model = Weight()
    optimizer = SGD(model.parameters(), lr=1.0)
    return model, fit(model, lambda: PAIRS[:1], squared, optimizer, 1, clip_norm=clip_norm)


def test_clipping_shortens_the_gradient_to_theta_and_leaves_short_ones() -> None:
    assert train(clip_norm=2.0)[0].w.item() == pytest.approx(2.0, rel=1e-5)
    assert train(clip_norm=1000.0)[0].w.item() == pytest.approx(60.0)
    assert train(clip_norm=None)[0].w.item() == pytest.approx(60.0)


def test_the_loss_of_an_epoch_is_summed_over_labels_then_divided_once() -> None:
    model = Weight()
    history = fit(model, lambda: PAIRS, squared, SGD(model.parameters(), lr=0.0), 2)
    assert [epoch.loss for epoch in history] == [100.0, 100.0]
    assert [epoch.num_labels for epoch in history] == [4, 4]


def test_no_loss_of_a_minibatch_is_kept_until_the_end_of_the_epoch() -> None:
    totals: list[weakref.ref[torch.Tensor]] = []

    def loss(output: torch.Tensor, Y: torch.Tensor) -> Loss:
        assert sum(total() is not None for total in totals) <= 1  # that of the minibatch before
        found = squared(output, Y)
        totals.append(weakref.ref(found.total))
        return found

    model = Weight()
    fit(model, lambda: 9 * PAIRS, loss, SGD(model.parameters(), lr=0.01), 1)
    assert len(totals) == 18


def test_the_callback_sees_every_epoch_as_it_ends() -> None:
    model, seen = Weight(), []
    optimizer = SGD(model.parameters(), lr=0.01)
    history = fit(model, lambda: PAIRS, squared, optimizer, 3, evaluate=lambda: {"m": 1.0}, callback=seen.append)
    assert seen == history
    assert [(epoch.epoch, epoch.metrics) for epoch in seen] == [(1, {"m": 1.0}), (2, {"m": 1.0}), (3, {"m": 1.0})]


def test_a_schedule_scales_the_learning_rate_by_what_is_done() -> None:
    model, seen = Weight(), []
    optimizer = SGD(model.parameters(), lr=2.0)

    def schedule(done: float) -> float:
        seen.append(done)
        return 0.5

    fit(model, lambda: PAIRS, squared, optimizer, 2, schedule=schedule, clip_norm=1.0)
    assert seen == [0.125, 0.375, 0.625, 0.875]
    assert model.w.item() == pytest.approx(4 * 0.5 * 2.0)


def test_the_cosine_schedule_rises_to_1_and_falls_to_0() -> None:
    factor = warmup_cosine(0.2)
    assert [factor(done) for done in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)])
def test_optimizers_are_torchs_and_adamw_alone_decays_weights(
    name: str, kind: type[torch.optim.Optimizer]
) -> None:
    w = nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(name, [w], lr=0.5, weight_decay=0.1)
    w.grad = torch.zeros(1)
    optimizer.step()
    assert type(optimizer) is kind
    assert optimizer.defaults["foreach"]
    assert w.item() == pytest.approx(0.95 if name == "adamw" else 1.0)


def test_early_stopping_ends_after_patience_and_puts_the_best_weights_back() -> None:
    model = Weight()
    values = iter([3.0, 1.0, 2.0, 1.0, 0.5])
    seen: list[float] = []

    def evaluate() -> dict[str, float]:
        seen.append(model.w.item())
        return {"m": next(values)}

    optimizer = SGD(model.parameters(), lr=0.01)
    history = fit(
        model, lambda: PAIRS, squared, optimizer, 9, evaluate=evaluate, early_stopping=EarlyStopping("m", 2)
    )
    assert [epoch.metrics["m"] for epoch in history] == [3.0, 1.0, 2.0, 1.0]
    assert model.w.item() == seen[1] != seen[3]


@pytest.mark.parametrize(("lr", "num_epochs"), [(1e30, 9), (3e38, 1)], ids=["a loss", "the last weights"])
def test_what_is_no_longer_finite_stops_the_training(lr: float, num_epochs: int) -> None:
    model = Weight()
    with pytest.raises(ValueError, match=r"diverged in epoch \d: .*lower lr"):
        fit(model, lambda: PAIRS[:1], squared, SGD(model.parameters(), lr=lr), num_epochs)


@pytest.mark.parametrize("name", ["cuda:99", "tpu"])
def test_a_device_that_is_not_here_is_an_error_that_lists_those_that_are(name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}' is not available; choose auto or cpu"):
        choose_device(name)


def test_the_message_names_the_variable_that_hides_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ValueError, match=r"'cuda:99' is not available; .*; CUDA_VISIBLE_DEVICES is ''"):
        choose_device("cuda:99")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
