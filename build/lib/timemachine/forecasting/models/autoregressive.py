"""Autoregressive models, which predict the next observation, or the next ones, from the τ before."""

import torch
from torch import Generator, Tensor, nn

from timemachine.forecasting.models.config import ArRecipe
from timemachine.training.initialisation import initialise_
from timemachine.training.state import State


class LinearAR(nn.Module):
    """Linear regression x̂_t = w · (x_{t−τ}, …, x_{t−1}) + b (second edition)."""

    def __init__(self, tau: int, num_outputs: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(tau, num_outputs)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch, num_outputs)."""
        return self.linear(X), None


class MLPAR(nn.Module):
    """One hidden layer of ReLU units (first edition)."""

    def __init__(self, tau: int, num_hiddens: int, num_outputs: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Linear(tau, num_hiddens)
        self.output = nn.Linear(num_hiddens, num_outputs)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch, num_outputs)."""
        return self.output(self.hidden(X).relu()), None


class RNNAR(nn.Module):
    """A recurrent network that reads the τ observations one after another (the exercise)."""

    def __init__(self, num_hiddens: int, num_outputs: int = 1) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, num_hiddens)
        self.output = nn.Linear(num_hiddens, num_outputs)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch, num_outputs)."""
        # vmap does not support torch's own recurrence, so it is written out. `getattr`, because under vmap
        # `functional_call` replaces the parameters by plain tensors, which `get_parameter` refuses.
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        W_xh, W_hh, b_ih, b_hh = (getattr(self.rnn, name) for name in names)
        b_h = b_ih + b_hh  # (num_hiddens,)
        H = torch.tanh(X[:, :1] @ W_xh.T + b_h)  # (batch, num_hiddens)
        for t in range(1, X.shape[1]):
            H = torch.tanh(X[:, t : t + 1] @ W_xh.T + H @ W_hh.T + b_h)
        return self.output(H), None


class Standardized(nn.Module):
    """A model of the standardized series, with inputs and outputs in the units of the series."""

    def __init__(self, model: nn.Module, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map features (batch, tau) to predictions (batch, num_outputs)."""
        predicted, state = self.model((X - self.mean) / self.std, state)
        return predicted * self.std + self.mean, state


Autoregressive = LinearAR | MLPAR | RNNAR


def build_bare(recipe: ArRecipe, generator: Generator | None = None, num_outputs: int = 1) -> Autoregressive:
    """Build the model of a recipe, without `Standardized` around it.

    Args:
        recipe: the recipe.
        generator: draws the initial weights. The MLP's are Xavier-uniform with biases 0; those of the other models
            have the distributions of torch's defaults. Without a generator torch's global one draws them.
        num_outputs: number of steps that are predicted at once.
    """
    model: Autoregressive
    if recipe.num_hiddens is None:
        model = LinearAR(recipe.tau, num_outputs)
    elif recipe.model == "mlp":
        model = MLPAR(recipe.tau, recipe.num_hiddens, num_outputs)
    else:
        model = RNNAR(recipe.num_hiddens, num_outputs)
    if generator is not None:
        initialise_(model, generator)
        if isinstance(model, MLPAR):
            for layer in (model.hidden, model.output):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
    return model


def build_autoregressive(recipe: ArRecipe) -> nn.Module:
    """Build the model of a checkpoint from its config, which is also a recipe; weights are not yet loaded."""
    model = build_bare(recipe)
    return Standardized(model) if recipe.standardize else model
