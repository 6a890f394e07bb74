import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from timemachine.gradients.analysis import (
    Window,
    estimate_gradients,
    linear_rnn,
    norms_by_lag,
    rate_by_step,
    truncation_cost,
)
from timemachine.gradients.truncation import randomised_gates, truncated_gates
from timemachine.language.models.rnn_scratch import RNNScratch

VOCAB_SIZE, BATCH = 7, 3


def text(num_steps: int) -> Tensor:
    return torch.randint(VOCAB_SIZE, (BATCH, num_steps + 1), generator=torch.Generator().manual_seed(1))


def linear(radius: float, num_hiddens: int = 16) -> RNNScratch:
    return linear_rnn(VOCAB_SIZE, num_hiddens, radius, torch.Generator().manual_seed(0))


def tanh_window(num_steps: int = 8) -> tuple[RNNScratch, Window]:
    model = RNNScratch(VOCAB_SIZE, 5, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(40)
    return model, Window(model, text(num_steps))


@pytest.mark.parametrize("radius", [0.0, 1e300])
def test_gradients_that_vanish_at_once_or_explode_have_nothing_to_compare(radius: float) -> None:
    model = linear(1.0)
    with torch.no_grad():
        model.W_hh.mul_(radius)
        model.W_hq.mul_(radius)
    window = Window(model, text(8))
    for compare in (norms_by_lag, lambda window: estimate_gradients(window, torch.ones(8, 1))):
        with pytest.raises(ValueError, match="the gradient is 0 or not finite"):
            compare(window)


def test_an_orthogonal_network_keeps_the_gradients_norm() -> None:
    model = linear(1.0)
    with torch.no_grad():
        model.W_hh.copy_(torch.linalg.qr(model.W_hh)[0])
    torch.testing.assert_close(norms_by_lag(Window(model, text(40))), torch.ones(40, dtype=torch.float64))


@pytest.mark.parametrize("radius", [0.8, 1.2])
def test_other_networks_lose_or_gain_their_spectral_radius_at_each_step(radius: float) -> None:
    norms = norms_by_lag(Window(linear(radius), text(200)))
    assert rate_by_step(norms) == pytest.approx(radius, rel=0.01)
    assert (norms[-1] < 1e-6) == (radius < 1)


def test_norms_are_those_that_autograd_finds() -> None:
    model, window = tanh_window()
    X, Y = text(8)[:, :-1], text(8)[:, 1:]
    H = [torch.zeros(BATCH, 5, dtype=torch.float64)]
    for X_t in F.one_hot(X.T, VOCAB_SIZE).double():
        H.append(torch.tanh(X_t @ model.W_xh + H[-1] @ model.W_hh + model.b_h))
    states = H[1:]
    loss = F.cross_entropy(states[-1] @ model.W_hq + model.b_q, Y[:, -1], reduction="sum")
    norms = torch.stack(torch.autograd.grad(loss, states)).norm(dim=-1).flip(0)
    torch.testing.assert_close(norms_by_lag(window), (norms / norms[0]).mean(1))


def test_bias_variance_and_cosine_are_those_of_the_gradients_themselves() -> None:
    model, window = tanh_window()
    X, Y = text(8)[:, :-1], text(8)[:, 1:]
    generator = torch.Generator().manual_seed(2)
    gates = torch.stack([randomised_gates(8, 3, generator) for _ in range(60)], 1)  # more than one chunk

    def gradient(xi: Tensor | None) -> dict[str, Tensor]:
        loss = F.cross_entropy(model(X, None, xi)[0].flatten(0, 1), Y.flatten())
        W_hh, *others = torch.autograd.grad(loss, [model.W_hh, model.W_xh, model.b_h])
        return {"W_hh": W_hh.flatten(), "recurrent": torch.cat([W_hh.flatten(), *(g.flatten() for g in others)])}

    full, drawn = gradient(None), [gradient(xi) for xi in gates.T]
    for name, row in estimate_gradients(window, gates, random=True).items():
        g, some = full[name], torch.stack([by_name[name] for by_name in drawn])
        bias = float((some.mean(0) - g).norm() / g.norm())
        variance = float((some - some.mean(0)).square().sum(1).mean() / g.square().sum())
        cosine = float(F.cosine_similarity(some, g[None]).mean())
        assert (row["bias"], row["variance"], row["cosine"]) == pytest.approx((bias, variance, cosine))
        projections = some @ g / g.square().sum()
        mean, half = float(projections.mean()), 1.96 * float(projections.std()) / math.sqrt(60)
        assert row["projection"] == pytest.approx(mean)
        assert row["projection_interval"] == pytest.approx([mean - half, mean + half])
        assert row["chance"] == pytest.approx(math.sqrt(variance / 60))


def test_open_gates_have_no_bias_and_closed_ones_do() -> None:
    _, window = tanh_window()
    for weights in ("W_hh", "recurrent"):
        assert estimate_gradients(window, torch.ones(8, 1))[weights]["bias"] == pytest.approx(0, abs=1e-12)
        assert estimate_gradients(window, truncated_gates(8, 3)[:, None])[weights]["bias"] > 0.01


def test_segments_have_tau_steps_and_gates_a_mean_of_one() -> None:
    assert truncated_gates(7, 3, 1).tolist() == [1, 0, 1, 1, 0, 1, 1]
    gates = randomised_gates(100_000, 4, torch.Generator().manual_seed(0))
    assert set(gates.tolist()) == {0, 4 / 3}
    assert float(gates.mean()) == pytest.approx(1, abs=0.01)
    assert float((gates == 0).double().mean()) == pytest.approx(1 / 4, abs=0.01)


def test_a_window_keeps_its_longest_segment_and_multiplies_at_open_gates() -> None:
    gates = torch.tensor([[1.0, 1, 0, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]]).T
    assert truncation_cost(gates[:, :1], 10) == {"kept_bytes": 40, "products": 5}
    assert truncation_cost(gates, 10) == {"kept_bytes": math.fsum([40, 10]) / 2, "products": 2.5}
