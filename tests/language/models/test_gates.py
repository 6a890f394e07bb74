"""The three strategies of backpropagation through time, as gates on what flows back."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from timemachine.gradients.truncation import truncated_gates
from timemachine.language.models.recurrence import Recurrence
from timemachine.language.models.rnn_scratch import RNNScratch

VOCAB_SIZE, NUM_HIDDENS, BATCH, NUM_STEPS = 7, 5, 3, 6
X = torch.randint(VOCAB_SIZE, (BATCH, NUM_STEPS), generator=torch.Generator().manual_seed(0))


def network(activation: str = "tanh") -> RNNScratch:
    model = RNNScratch(VOCAB_SIZE, NUM_HIDDENS, activation, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(40)  # out of the range where tanh is the identity
    return model


def gradients(model: nn.Module, logits: Tensor) -> list[Tensor]:
    loss = F.cross_entropy(logits.flatten(0, 1), X.flatten())
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_open_gates_are_no_gates() -> None:
    model = network()
    (logits, state), (gated, same) = model(X), model(X, None, torch.ones(NUM_STEPS))
    assert torch.equal(logits, gated)
    assert torch.equal(state, same)
    for ours, theirs in zip(gradients(model, gated), gradients(model, logits), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("offset", [0, 1])
def test_closed_gates_at_the_start_of_segments_are_what_detaching_does(offset: int, activation: str) -> None:
    model, tau = network(activation), 3
    H, outputs = torch.zeros(BATCH, NUM_HIDDENS, dtype=torch.float64), []
    for t, X_t in enumerate(F.one_hot(X.T, VOCAB_SIZE).double()):
        if (t - offset) % tau == 0:
            H = H.detach()
        H = getattr(torch, activation)(X_t @ model.W_xh + H @ model.W_hh + model.b_h)
        outputs.append(H @ model.W_hq + model.b_q)
    theirs = gradients(model, torch.stack(outputs, 1))
    ours = gradients(model, model(X, None, truncated_gates(NUM_STEPS, tau, offset))[0])
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours[1], gradients(model, model(X)[0])[1])


def test_the_first_gate_leads_out_of_the_window() -> None:
    model = network()
    before = torch.rand(BATCH, NUM_HIDDENS, dtype=torch.float64, requires_grad=True)
    model(X, before, torch.tensor([0.5] + [1.0] * 5))[0].sum().backward()
    half, before.grad = before.grad, None
    model(X, before)[0].sum().backward()
    torch.testing.assert_close(half, before.grad / 2)


def test_randomised_truncation_is_unbiased_over_all_patterns_of_gates() -> None:
    model, pi = network(), 0.7
    expected = [torch.zeros_like(p) for p in model.parameters()]
    for pattern in itertools.product([0, 1], repeat=NUM_STEPS - 1):
        probability = math.prod(pi if kept else 1 - pi for kept in pattern)
        gates = torch.tensor([1, *pattern], dtype=torch.float64) / pi
        for total, gradient in zip(expected, gradients(model, model(X, None, gates)[0]), strict=True):
            total += probability * gradient
    torch.testing.assert_close(expected, gradients(model, model(X)[0]), rtol=1e-12, atol=1e-14)


def test_the_books_equations_of_the_linear_network_are_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    T, d, h, q = 5, 2, 4, 3

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    x, y, W_hx, W_hh, W_qh = normal(T, d), normal(T, q).detach(), normal(h, d), normal(h, h), normal(q, h)
    hidden = Recurrence.apply((x @ W_hx.T)[:, None], x.new_zeros(1, h), W_hh.T, "identity")[:, 0]
    o = hidden @ W_qh.T
    (((o - y).square().sum(1) / 2).sum() / T).backward()
    with torch.no_grad():
        to_o = (o - y) / T  # ∂L/∂o_t
        to_h = torch.stack(
            [
                sum(
                    torch.linalg.matrix_power(W_hh.T, T - i) @ W_qh.T @ to_o[T + t - i - 1]
                    for i in range(t, T + 1)
                )
                for t in range(1, T + 1)
            ]
        )
        before = torch.cat([hidden.new_zeros(1, h), hidden[:-1]])
        torch.testing.assert_close(W_qh.grad, to_o.T @ hidden)
        torch.testing.assert_close(W_hx.grad, to_h.T @ x)
        torch.testing.assert_close(W_hh.grad, to_h.T @ before)
