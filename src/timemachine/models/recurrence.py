"""The recurrence H_t = φ(Z_t + H_{t−1} W_hh) with a backward pass written from the book's equations."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from timemachine.models.state import State


class Recurrence(torch.autograd.Function):
    """All hidden states of a simple recurrent layer, from its input projections.

    Forward, in one buffer: H_t = φ(Z_t + H_{t−1} W_hh), where Z_t = X_t W_xh + b_h.

    Backward, with δ_t = ∂L/∂Z_t = φ'(·) ⊙ ∂L/∂H_t and ∂L/∂H_t = (what the outputs send) + δ_{t+1} W_hhᵀ:
    ∂L/∂W_hh = Σ_t H_{t−1}ᵀ δ_t, which is one product over all time steps instead of one for each.
    """

    @staticmethod
    def forward(ctx: Any, Z: Tensor, H_0: Tensor, W_hh: Tensor, activation: str) -> Tensor:
        """Map Z (num_steps, batch, num_hiddens) and H_0 (batch, num_hiddens) to H_1 … H_T, shaped like Z."""
        H = Z.new_empty(len(Z) + 1, *H_0.shape)  # H_0 … H_T
        H[0] = H_0
        states = H.unbind(0)
        apply_ = torch.tanh_ if activation == "tanh" else torch.relu_
        for t, Z_t in enumerate(Z.unbind(0)):
            torch.addmm(Z_t, states[t], W_hh, out=states[t + 1])
            apply_(states[t + 1])
        ctx.save_for_backward(H, W_hh)
        ctx.activation = activation
        return H[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return ∂L/∂Z, ∂L/∂H_0 and ∂L/∂W_hh."""
        (grad_H,) = grad_outputs
        H, W_hh = ctx.saved_tensors
        slope = 1 - H[1:].square() if ctx.activation == "tanh" else (H[1:] > 0).to(H.dtype)
        delta = grad_H * slope
        deltas, slopes, W_T = delta.unbind(0), slope.unbind(0), W_hh.T
        for t in range(len(deltas) - 2, -1, -1):
            deltas[t].addcmul_(deltas[t + 1] @ W_T, slopes[t])
        grad_W = H[:-1].flatten(0, 1).T @ delta.flatten(0, 1)  # (num_hiddens, num_hiddens)
        return delta, deltas[0] @ W_T, grad_W, None


def run_layers(rnn: nn.RNN, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Compute what a unidirectional `nn.RNN` does, with its weights, by `Recurrence`.

    Without cuDNN torch multiplies for ∂L/∂W_hh at every time step, which this avoids.

    Args:
        rnn: the layers.
        inputs: (num_steps, batch, input_size).
        state: (num_layers, batch, num_hiddens); None for zeros.

    Returns:
        The last layer's states (num_steps, batch, num_hiddens), and the state.
    """
    H, last = inputs, []
    for layer in range(rnn.num_layers):
        W_ih, W_hh, b_ih, b_hh = (
            getattr(rnn, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        Z = F.linear(H, W_ih, b_ih + b_hh)
        H_0 = Z.new_zeros(Z.shape[1:]) if state is None else state[layer]
        H = Recurrence.apply(Z, H_0, W_hh.T, rnn.nonlinearity)
        last.append(H[-1])
    return H, torch.stack(last)
