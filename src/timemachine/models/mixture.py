"""n-gram models and mixtures as modules: they keep the state contract, so they score and write as networks do."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from timemachine.models.state import State
from timemachine.ngrams.kneser_ney import KneserNey


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
        text = X if state is None else torch.cat([state, X], 1)  # type: ignore[list-item]
        before = text.shape[1] - X.shape[1]
        contexts = self.order - 1
        P = []
        # The first tokens of a text have shorter contexts: each of these lengths is a model of lower order.
        for end in range(before + 1, min(contexts, text.shape[1] + 1)):
            P.append(self.counted.distributions(text[:, :end].numpy())[:, None])
        first = max(before + 1, contexts)  # length of the text before the first full context
        if first <= text.shape[1]:
            windows = np.lib.stride_tricks.sliding_window_view(text.numpy(), contexts, axis=1) if contexts else None
            rows = text.shape[1] - first + 1
            if windows is None:
                full = self.counted.distributions(np.empty((len(X) * rows, 0), dtype=np.int64))
            else:
                full = self.counted.distributions(windows[:, -rows:].reshape(-1, contexts))
            P.append(full.reshape(len(X), rows, -1))
        kept = text[:, max(text.shape[1] - contexts, 0) :]
        return torch.from_numpy(np.log(np.concatenate(P, axis=1))), kept


class Mixture(nn.Module):
    """P(x) = Σ_i w_i P_i(x).

    Args:
        models: language models with the same vocabulary.
        weights: w, one for each; they sum to 1.
    """

    def __init__(self, models: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64))

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to log-probabilities (batch, num_steps, vocab), in float64.

        The state is a tuple with the state of each model.
        """
        states = state if isinstance(state, tuple) else (None,) * len(self.models)
        outputs = [model(X, part) for model, part in zip(self.models, states, strict=True)]
        log_P = torch.stack([logits.double().log_softmax(-1) for logits, _ in outputs], -1)
        return (log_P + self.weights.log()).logsumexp(-1), tuple(part for _, part in outputs)
