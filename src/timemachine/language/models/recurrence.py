"""The recurrence H_t = φ(Z_t + H_{t−1} W_hh) with a backward pass written from the book's equations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from timemachine.training.devices import lowered
from timemachine.training.state import State, mapped

_APPLY: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "identity": lambda H: H,
}


def slope_at(H: Tensor, activation: str) -> Tensor:
    """Return φ' as a function of H = φ(·), shaped like H; the activation is `tanh`, `relu` or `identity`."""
    if activation == "tanh":
        return 1 - H.square()
    return (H > 0).to(H.dtype) if activation == "relu" else torch.ones_like(H)


def flow_back(sent: Tensor, slope: Tensor, W_hh: Tensor, gates: Tensor | None = None) -> Tensor:
    """Return δ_t = ∂L/∂Z_t = φ'_t ⊙ (∂L/∂O_t W_hqᵀ + ξ_{t+1} δ_{t+1} W_hhᵀ) for all t, shaped like `sent`.

    Args:
        sent: (num_steps, …, num_hiddens) gradients from the outputs to the states, ∂L/∂O_t W_hqᵀ.
        slope: φ'_t, broadcast to `sent`.
        W_hh: (num_hiddens, num_hiddens).
        gates: ξ, broadcast to `sent`; None for 1 everywhere.
    """
    delta = sent * slope
    deltas, W_T = delta.unbind(0), W_hh.T
    through = (slope if gates is None else slope[:-1] * gates[1:]).unbind(0)
    for t in range(len(deltas) - 2, -1, -1):
        deltas[t].addcmul_(deltas[t + 1] @ W_T, through[t])
    return delta


class Recurrence(torch.autograd.Function):
    """All hidden states of a simple recurrent layer, from its input projections.

    Forward: H_t = φ(Z_t + H_{t−1} W_hh) with Z_t = X_t W_xh + b_h. The result overwrites Z.

    Backward: with δ_t = ∂L/∂Z_t = φ'(·) ⊙ ∂L/∂H_t and ∂L/∂H_t = (gradient from the outputs) + ξ_{t+1} δ_{t+1}
    W_hhᵀ, the gradient ∂L/∂W_hh = Σ_t H_{t−1}ᵀ δ_t is one product over all time steps instead of one for each.

    The gates ξ_t multiply the gradient from step t to step t − 1. All 1 (the default) is full backpropagation
    through time. 0 at the start of each segment is truncated backpropagation, as by detaching the state. Random
    gates of mean 1 are the book's randomised truncation, z_t = ∂f/∂w + ξ_t (∂f/∂h_{t−1}) ∂h_{t−1}/∂w.
    """

    @staticmethod
    def forward(
        ctx: Any, Z: Tensor, H_0: Tensor, W_hh: Tensor, activation: str, gates: Tensor | None = None
    ) -> Tensor:
        """Compute H_1 … H_T in place of Z (num_steps, batch, num_hiddens), which must not be a leaf.

        H_0 is (batch, num_hiddens). The activation is `tanh`, `relu` or `identity`. Gates are (num_steps,) and
        have no gradient.
        """
        states = Z.unbind(0)
        apply_ = _APPLY[activation]
        before = H_0
        for H_t in states:
            apply_(H_t.addmm_(before, W_hh))
            before = H_t
        ctx.mark_dirty(Z)
        ctx.save_for_backward(Z, H_0, W_hh, None if gates is None else gates.to(Z).view(-1, 1, 1))
        ctx.activation = activation
        return Z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return ∂L/∂Z, ∂L/∂H_0 and ∂L/∂W_hh."""
        (grad_H,) = grad_outputs
        H, H_0, W_hh, gates = ctx.saved_tensors
        slope = slope_at(H, ctx.activation).to(H)  # autocast computes squares in float32
        delta = flow_back(grad_H, slope, W_hh, gates)
        grad_H_0 = delta[0] @ W_hh.T
        if gates is not None:
            grad_H_0 *= gates[0]
        grad_W = H[:-1].flatten(0, 1).T @ delta[1:].flatten(0, 1)  # (num_hiddens, num_hiddens)
        grad_W.addmm_(H_0.T, delta[0])
        return delta, grad_H_0, grad_W, None, None


def run_layers(rnn: nn.RNN, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Compute the forward pass of a unidirectional `nn.RNN` by `Recurrence`.

    This is faster on the CPU, where torch computes ∂L/∂W_hh by one product for each time step.

    Args:
        rnn: the layers.
        inputs: (num_steps, batch, input_size); or the indices of one-hot inputs, (num_steps, batch), with which
            the product with W_ih is computed as a look-up.
        state: (num_layers, batch, num_hiddens); None for zeros.

    Returns:
        The states of the last layer (num_steps, batch, num_hiddens), and the new state.
    """
    H, last = inputs, []
    for layer, (W_ih, W_hh, b_ih, b_hh) in enumerate(rnn.all_weights):
        b_h = b_ih + b_hh
        # A look-up is faster in a table whose rows are contiguous.
        Z = F.linear(H, W_ih, b_h) if H.is_floating_point() else F.embedding(H, W_ih.T.contiguous() + b_h)
        H_0 = Z.new_zeros(Z.shape[1:]) if state is None else state[layer]
        H = Recurrence.apply(*mapped(lowered, (Z, H_0, W_hh.T)), rnn.nonlinearity)
        last.append(H[-1])
    return H, torch.stack(last)
