"""Autoregressive models: τ past observations in, the next one out."""

from typing import Any

from torch import Generator, Tensor, nn

from timemachine.models.initialisation import initialise_
from timemachine.models.state import State


class LinearAR(nn.Module):
    """Linear regression x̂_t = w · (x_{t−τ}, …, x_{t−1}) + b (second edition)."""

    def __init__(self, tau: int) -> None:
        super().__init__()
        self.linear = nn.Linear(tau, 1)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch,)."""
        return self.linear(X).squeeze(-1), None


class MLPAR(nn.Module):
    """One hidden layer of ReLU units (first edition)."""

    def __init__(self, tau: int, num_hiddens: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(tau, num_hiddens)
        self.output = nn.Linear(num_hiddens, 1)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch,)."""
        return self.output(self.hidden(X).relu()).squeeze(-1), None


class RNNAR(nn.Module):
    """A recurrent network that reads the τ observations in turn (the exercise)."""

    def __init__(self, num_hiddens: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, num_hiddens)
        self.output = nn.Linear(num_hiddens, 1)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch,)."""
        H, _ = self.rnn(X.T.unsqueeze(-1))  # (tau, batch, num_hiddens)
        return self.output(H[-1]).squeeze(-1), None


def build_autoregressive(config: dict[str, Any], generator: Generator | None = None) -> nn.Module:
    """Make the module that a recipe or a checkpoint's `config.json` describes.

    Args:
        config: `model` (linear | mlp | rnn), `tau` and `num_hiddens`.
        generator: where initial weights are drawn from: the MLP's are Xavier-uniform with biases 0, the
            others' torch's defaults. Without one the weights are torch's global defaults.
    """
    model: nn.Module
    if config["model"] == "linear":
        model = LinearAR(config["tau"])
    elif config["model"] == "mlp":
        model = MLPAR(config["tau"], config["num_hiddens"])
    else:
        model = RNNAR(config["num_hiddens"])
    if generator is not None:
        initialise_(model, generator)
        if isinstance(model, MLPAR):
            for layer in (model.hidden, model.output):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
    return model
