"""Autoregressive models: τ past observations in, the next one out."""

from torch import Generator, Tensor, nn

from timemachine.models.initialisation import initialise_
from timemachine.models.state import State
from timemachine.params import ArRecipe


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


def build_autoregressive(recipe: ArRecipe, generator: Generator | None = None) -> nn.Module:
    """Make an autoregressive model.

    Args:
        recipe: a recipe, or the config of a checkpoint, which is one too.
        generator: where initial weights are drawn from: the MLP's are Xavier-uniform with biases 0, the
            others' torch's defaults. Without one the weights are torch's global defaults.
    """
    model: nn.Module
    if recipe.num_hiddens is None:
        model = LinearAR(recipe.tau)
    elif recipe.model == "mlp":
        model = MLPAR(recipe.tau, recipe.num_hiddens)
    else:
        model = RNNAR(recipe.num_hiddens)
    if generator is not None:
        initialise_(model, generator)
        if isinstance(model, MLPAR):
            for layer in (model.hidden, model.output):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
    return model
