"""How gradients vanish or explode through time, and the bias and variance of truncated gradients.

The forward pass over a minibatch runs once. The gradient is linear in δ_t = ∂L/∂Z_t, so each truncation needs one
backward recursion and no further forward pass. Norms and inner products of gradients are computed from their
factors, ⟨Σ_r u_r δ_rᵀ, Σ_s u_s ε_sᵀ⟩ = Σ_rs ⟨u_r, u_s⟩ ⟨δ_r, ε_s⟩, and the gradients themselves are never formed.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from timemachine.base.errors import UserError
from timemachine.language.models.recurrence import flow_back, slope_at
from timemachine.language.models.rnn_scratch import RNNScratch

# Number of draws whose δ are in memory at once.
_CHUNK_DRAWS = 20
_NO_GRADIENT = "the gradient is 0 or not finite, because the states saturate or grow without bound"


class Window:
    """A minibatch after its forward pass.

    Args:
        model: the network.
        tokens: (batch, num_steps + 1) indices; each but the last is an input, each but the first is predicted.
        state: (batch, num_hiddens) before the first step, zeros if None.

    Attributes:
        inputs: (num_steps, batch, input) X_t, the factors of W_xh.
        H: (num_steps + 1, batch, num_hiddens) H_0 … H_T.
        losses: (num_steps, batch) nats of each token, differentiable with respect to `H`.
        slope: (num_steps, batch, num_hiddens) φ', the derivative of the activation.
        W_hh: (num_hiddens, num_hiddens).
    """

    def __init__(self, model: RNNScratch, tokens: Tensor, state: Tensor | None = None) -> None:
        X, Y = tokens[:, :-1], tokens[:, 1:]  # (batch, num_steps)
        with torch.no_grad():
            states = model.hidden_states(X, state)
            self.inputs, self.W_hh = model.inputs(X), model.W_hh.detach()
            H_0 = torch.zeros_like(states[0]) if state is None else state
        self.H = torch.cat([H_0[None], states]).requires_grad_()
        logits = model.output(self.H[1:])  # (num_steps, batch, vocab)
        self.losses = F.cross_entropy(logits.transpose(1, 2), Y.T, reduction="none")
        self.slope = slope_at(states, model.activation)

    def sent(self, loss: Tensor) -> Tensor:
        """Return ∂loss/∂O_t W_hqᵀ (num_steps, batch, num_hiddens), the gradient of the output at its own step."""
        return torch.autograd.grad(loss, self.H, retain_graph=True)[0][1:]


def linear_rnn(vocab_size: int, num_hiddens: int, radius: float, generator: Generator) -> RNNScratch:
    """Return a linear network in float64 whose W_hh is a normal random matrix scaled to a spectral radius."""
    model = RNNScratch(vocab_size, num_hiddens, "identity", generator=generator).double()
    W_hh = torch.randn(num_hiddens, num_hiddens, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        model.W_hh.copy_(W_hh * (radius / torch.linalg.eigvals(W_hh).abs().max()))
    return model


def norms_by_lag(window: Window) -> Tensor:
    """Return ‖∂L_T/∂H_{T−k}‖ / ‖∂L_T/∂H_T‖ for k = 0 … num_steps − 1, averaged over the batch, (num_steps,).

    L_T is the loss of the last step only.

    Raises:
        UserError: the gradient is 0 at the last step, or not finite at some step.
    """
    sent = window.sent(window.losses[-1].sum())
    delta = flow_back(sent, window.slope, window.W_hh)
    norms = torch.cat([delta[1:] @ window.W_hh.T, sent[-1:]]).norm(dim=-1).flip(0)  # (num_steps, batch)
    relative = (norms / norms[0]).mean(1)
    if not relative.isfinite().all():
        raise UserError(_NO_GRADIENT)
    return relative


def rate_by_step(norms: Tensor) -> float | None:
    """Return the mean factor per step of norms (num_lags,) over the second half of the lags; None if 0."""
    half = len(norms) // 2
    if norms[half] == 0:
        return None
    return float((norms[-1] / norms[half]) ** (1 / (len(norms) - 1 - half)))


def estimate_gradients(window: Window, gates: Tensor, random: bool = False) -> dict[str, dict[str, Any]]:
    """Compare truncated gradients ĝ with the full gradient g, both of the mean loss of a window.

    Args:
        window: a minibatch after its forward pass.
        gates: (num_steps, draws); a draw holds for all rows of the minibatch.
        random: whether the gates are random draws, so that the result has the sampling error too.

    Returns:
        For `W_hh`, and for `recurrent`, W_hh, W_xh and b_h together: `bias`, ‖mean ĝ − g‖ / ‖g‖; `variance`, the
        mean of ‖ĝ − mean ĝ‖² / ‖g‖²; `cosine`, the mean cosine of ĝ and g; `projection`, the mean of
        ⟨ĝ, g⟩ / ‖g‖², which is 1 if ĝ has no bias along g. If `random`, also `chance`, the bias that is expected
        of an unbiased ĝ with this variance and number of draws, and `projection_interval`, the projection ± 1.96
        standard errors.

    Raises:
        UserError: the full gradient is 0 or not finite.
    """
    num_draws = gates.shape[1]
    sent, slope = window.sent(window.losses.mean())[:, None], window.slope[:, None]  # (T, 1, batch, num_hiddens)
    full = flow_back(sent, slope, window.W_hh).flatten(0, 2)  # (T × batch, num_hiddens)
    before, inputs = window.H[:-1].detach().flatten(0, 1), window.inputs.flatten(0, 1)
    products = {"W_hh": before @ before.T}  # (T × batch, T × batch)
    products["recurrent"] = products["W_hh"] + inputs @ inputs.T + 1
    sizes = {name: float((full * (product @ full)).sum()) for name, product in products.items()}  # ‖g‖²
    if not all(0 < size < math.inf for size in sizes.values()):
        raise UserError(_NO_GRADIENT)
    lengths: dict[str, list[Tensor]] = {name: [] for name in products}  # ‖ĝ‖² / ‖g‖²
    projections: dict[str, list[Tensor]] = {name: [] for name in products}
    mean = torch.zeros_like(full)
    for some in gates.to(full).split(_CHUNK_DRAWS, 1):
        delta = flow_back(sent.expand(-1, some.shape[1], -1, -1), slope, window.W_hh, some[:, :, None, None])
        delta = delta.transpose(0, 1).flatten(1, 2)  # (draws, T × batch, num_hiddens)
        pairs = delta @ delta.mT
        mean += delta.sum(0) / num_draws
        for name, product in products.items():
            lengths[name].append((pairs * product).sum((1, 2)) / sizes[name])
            projections[name].append((delta * (product @ full)).sum((1, 2)) / sizes[name])
    result: dict[str, dict[str, Any]] = {}
    for name, product in products.items():
        error = float(((mean - full) * (product @ (mean - full))).sum()) / sizes[name]
        length, projected = torch.cat(lengths[name]), torch.cat(projections[name])
        projection = float(projected.mean())
        # Mean of ‖ĝ‖² minus ‖mean ĝ‖² = ‖g + (mean ĝ − g)‖². With one draw this is only a rounding error.
        variance = float(length.mean()) - (error + 2 * projection - 1) if num_draws > 1 else 0.0
        variance, cosine = max(variance, 0.0), float((projected / length.sqrt()).mean())
        bias = math.sqrt(max(error, 0))
        row = result[name] = {"bias": bias, "variance": variance, "cosine": cosine, "projection": projection}
        if random:
            row["chance"] = math.sqrt(variance / num_draws)
            half = 1.96 * float(projected.std()) / math.sqrt(num_draws)
            row["projection_interval"] = [projection - half, projection + half]
    return result


def truncation_cost(gates: Tensor, state_bytes: int) -> dict[str, float]:
    """Return the memory and the work of a backward pass over a window, averaged over draws.

    Args:
        gates: (num_steps, draws) as in `estimate_gradients`; the first gate of a draw is not used.
        state_bytes: size of the states of one step in bytes.

    Returns:
        `kept_bytes`, the size of the states of the longest segment: segments are detached, so the states of the
        others can be freed. `products`, the number of vector-Jacobian products through W_hh, one per open gate.
    """
    longest = running = torch.ones(gates.shape[1], dtype=torch.float64)
    for gate in gates[1:]:
        running = torch.where(gate == 0, 1, running + 1)
        longest = longest.maximum(running)
    products = (gates[1:] != 0).sum(0)
    return {"kept_bytes": float(longest.mean()) * state_bytes, "products": float(products.double().mean())}
