"""The recurrent language model from scratch: H_t = φ(X_t W_xh + H_{t−1} W_hh + b_h), O_t = H_t W_hq + b_q."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from timemachine.language.models.recurrence import Recurrence
from timemachine.training.devices import lowered
from timemachine.training.state import State, mapped


class RNNScratch(nn.Module):
    """A recurrent language model with the five parameters of the book, and optionally an embedding.

    With one-hot inputs X_t W_xh selects rows of W_xh, so that it is computed as a look-up.

    Args:
        vocab_size: number of tokens.
        num_hiddens: hidden units.
        activation: φ, `tanh` or `relu`; `identity` gives the linear network of the book's equations.
        embedding_dim: size of a learnt embedding; None for one-hot inputs.
        generator: source of the weights ~ N(0, 0.01²); biases are 0.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        activation: str = "tanh",
        embedding_dim: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.01 * torch.randn(*shape, generator=generator))

        self.activation = activation
        self.W_xh = normal(embedding_dim or vocab_size, num_hiddens)
        self.W_hh = normal(num_hiddens, num_hiddens)
        self.b_h = nn.Parameter(torch.zeros(num_hiddens))
        self.W_hq = normal(num_hiddens, vocab_size)
        self.b_q = nn.Parameter(torch.zeros(vocab_size))
        self.embedding = normal(vocab_size, embedding_dim) if embedding_dim else None

    def forward(self, X: Tensor, state: State = None, gates: Tensor | None = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to logits (batch, num_steps, vocab).

        The state has shape (batch, num_hiddens). Gates (num_steps,) scale the gradient that flows back at each
        step (see `timemachine.language.models.recurrence.Recurrence`); they do not change logits or state.
        """
        H = self.hidden_states(X, state, gates)
        return self.output(H).transpose(0, 1), H[-1]

    def inputs(self, X: Tensor) -> Tensor:
        """Map indices (batch, num_steps) to the inputs X_t, (num_steps, batch, vocab or embedding_dim)."""
        if self.embedding is None:
            return F.one_hot(X.T, len(self.W_xh)).to(self.W_xh.dtype)
        return F.embedding(X.T, self.embedding)

    def hidden_states(self, X: Tensor, state: State = None, gates: Tensor | None = None) -> Tensor:
        """Map indices (batch, num_steps) to H_1 … H_T, (num_steps, batch, num_hiddens)."""
        if self.embedding is None:
            Z = F.embedding(X.T, self.W_xh + self.b_h)  # (num_steps, batch, num_hiddens)
        else:
            Z = self.inputs(X) @ self.W_xh + self.b_h
        if state is None:
            state = Z.new_zeros(Z.shape[1:])
        return Recurrence.apply(*mapped(lowered, (Z, state, self.W_hh)), self.activation, gates)

    def output(self, H: Tensor) -> Tensor:
        """Map states (num_steps, batch, num_hiddens) to logits (num_steps, batch, vocab)."""
        return torch.addmm(self.b_q, H.flatten(0, 1), self.W_hq).view(*H.shape[:2], -1)
