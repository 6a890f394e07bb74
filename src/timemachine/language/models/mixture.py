"""n-gram models and mixtures as modules: they keep the state contract, so they score and write as networks do."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.training.state import State


class NgramModel(nn.Module):
    """A Kneser–Ney model that reads tokens as a recurrent network does; its state is the context.

    Args:
        counted: a fitted model.
        order: which of its orders.
    """

    def __init__(self, counted: KneserNey, order: int) -> None:
        super().__init__()
        self.counted = counted
        self.order = order

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to log-probabilities (batch, num_steps, vocab).

        The state holds the tokens before, (batch, order − 1) or fewer at the beginning of a text.
        """
        text = torch.cat([state, X], 1) if isinstance(state, Tensor) else X
        num_before, length = self.order - 1, text.shape[1]
        P = []  # (batch, positions, vocab) each
        # The first tokens of a text have shorter contexts: each of these lengths is a model of lower order.
        for end in range(length - X.shape[1] + 1, min(num_before, length + 1)):
            P.append(self.counted.distributions(text[:, :end].numpy())[:, None])
        if num_full := min(length - num_before + 1, X.shape[1]) if length >= num_before else 0:
            ends = np.arange(length - num_full + 1, length + 1)
            contexts = text.numpy()[:, ends[:, None] + np.arange(-num_before, 0)]  # (batch, num_full, order − 1)
            full = self.counted.distributions(contexts.reshape(len(X) * num_full, num_before))
            P.append(full.reshape(len(X), num_full, -1))
        kept = text[:, max(length - num_before, 0) :]
        return torch.from_numpy(np.log(np.concatenate(P, axis=1))), kept


class Mixture(nn.Module):
    """The arithmetic mean P(x) = Σ_i w_i P_i(x), or the geometric one, P(x) ∝ Π_i P_i(x)^{w_i}.

    Args:
        models: language models with the same vocabulary.
        weights: w, one for each; those of an arithmetic mean sum to 1.
        mean: `arithmetic` or `geometric`.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        weights: Sequence[float],
        mean: Literal["arithmetic", "geometric"] = "arithmetic",
    ) -> None:
        super().__init__()
        self.mean = mean
        self.models = nn.ModuleList(models)
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64))

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to log-probabilities (batch, num_steps, vocab), in float64.

        The state is a tuple with the state of each model.
        """
        states = state if isinstance(state, tuple) else (None,) * len(self.models)
        outputs = [model(X, part) for model, part in zip(self.models, states, strict=True)]
        log_P = torch.stack([logits.double().log_softmax(-1) for logits, _ in outputs], -1)
        if self.mean == "arithmetic":
            mixed = (log_P + self.weights.log()).logsumexp(-1)
        else:
            mixed = (log_P @ self.weights).log_softmax(-1)
        return mixed, tuple(part for _, part in outputs)
