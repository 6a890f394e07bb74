"""How gradients vanish or explode through time, and the bias and variance of truncated gradients.

The forward pass over a minibatch runs once. The gradient is linear in δ_t = ∂L/∂Z_t, so each truncation needs one
backward recursion and no further forward pass. Norms and inner products of gradients are computed from their
factors, ⟨Σ_r u_r δ_rᵀ, Σ_s u_s ε_sᵀ⟩ = Σ_rs ⟨u_r, u_s⟩ ⟨δ_r, ε_s⟩, and the gradients themselves are never formed.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from timemachine.base.errors import UserError
from timemachine.language.models.recurrence import flow_back, slope_at
from timemachine.language.models.rnn_scratch import RNNScratch

# Number of draws whose δ are in memory at once.
_CHUNK_DRAWS = 20
_NO_GRADIENT = "the gradient is 0 or not finite, because the states saturate or grow without bound"


@dataclass(frozen=True)
class Window:
    """A minibatch after its forward pass.

    Attributes:
        inputs: (num_steps, batch, input) X_t, the factors of W_xh.
        H: (num_steps + 1, batch, num_hiddens) H_0 … H_T.
        losses: (num_steps, batch) nats of each token, differentiable with respect to `H`.
        slope: (num_steps, batch, num_hiddens) φ', the derivative of the activation.
        W_hh: (num_hiddens, num_hiddens).
    """

    inputs: Tensor
    H: Tensor
    losses: Tensor
    slope: Tensor
    W_hh: Tensor

    def sent(self, loss: Tensor) -> Tensor:
        """Return ∂loss/∂O_t W_hqᵀ (num_steps, batch, num_hiddens), the gradient of the output at its own step."""
        return torch.autograd.grad(loss, self.H, retain_graph=True)[0][1:]


def read_window(model: RNNScratch, tokens: Tensor, state: Tensor | None = None) -> Window:
    """Run the forward pass over a minibatch.

    Args:
        model: the network.
        tokens: (batch, num_steps + 1) indices; each but the last is an input, each but the first is predicted.
        state: (batch, num_hiddens) before the first step, zeros if None.
    """
    X, Y = tokens[:, :-1], tokens[:, 1:]  # (batch, num_steps)
    with torch.no_grad():
        states = model.hidden_states(X, state)
        inputs, W_hh = model.inputs(X), model.W_hh.detach()
        H_0 = torch.zeros_like(states[0]) if state is None else state
    H = torch.cat([H_0[None], states]).requires_grad_()
    logits = model.output(H[1:])  # (num_steps, batch, vocab)
    losses = F.cross_entropy(logits.transpose(1, 2), Y.T, reduction="none")
    return Window(inputs, H, losses, slope_at(states, model.activation), W_hh)


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


@dataclass(frozen=True)
class GradientEstimate:
    """Truncated gradients ĝ compared with the full gradient g.

    Attributes:
        bias: ‖mean ĝ − g‖ / ‖g‖.
        variance: mean of ‖ĝ − mean ĝ‖² / ‖g‖².
        cosine: mean cosine of ĝ and g.
        projections: (draws,) ⟨ĝ, g⟩ / ‖g‖². Their mean is 1 if ĝ has no bias along g.
    """

    bias: float
    variance: float
    cosine: float
    projections: Tensor

    def report(self, with_sampling_error: bool) -> dict[str, float | list[float]]:
        """Return the entry of the report: numbers over all draws.

        The sampling error is that of randomly drawn gates: `chance` is the bias that is expected of an unbiased ĝ
        with this variance and number of draws, `projection_interval` the mean projection ± 1.96 standard errors.
        """
        num_draws, mean = len(self.projections), float(self.projections.mean())
        row = {"bias": self.bias, "variance": self.variance, "cosine": self.cosine, "projection": mean}
        if not with_sampling_error:
            return {**row}
        error = 1.96 * float(self.projections.std()) / math.sqrt(num_draws)
        chance = math.sqrt(self.variance / num_draws)
        return {**row, "chance": chance, "projection_interval": [mean - error, mean + error]}


def estimate_gradients(window: Window, gates: Tensor) -> dict[str, GradientEstimate]:
    """Compare gradients through gates with the full gradient, both of the mean loss of a window.

    Args:
        window: a minibatch after its forward pass.
        gates: (num_steps, draws); a draw holds for all rows of the minibatch.

    Returns:
        The estimates of `W_hh`, and of `recurrent`: W_hh, W_xh and b_h together.

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
    result = {}
    for name, product in products.items():
        error = float(((mean - full) * (product @ (mean - full))).sum()) / sizes[name]
        length, projection = torch.cat(lengths[name]), torch.cat(projections[name])
        # Mean of ‖ĝ‖² minus ‖mean ĝ‖² = ‖g + (mean ĝ − g)‖². With one draw this is only a rounding error.
        variance = float(length.mean()) - (error + 2 * float(projection.mean()) - 1) if num_draws > 1 else 0.0
        cosine = float((projection / length.sqrt()).mean())
        result[name] = GradientEstimate(math.sqrt(max(error, 0)), max(variance, 0.0), cosine, projection)
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
