"""Recurrent language models made of torch's layers."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from timemachine.language.models.recurrence import run_layers
from timemachine.training.data_parallel import ALONE, Ranks
from timemachine.training.devices import lowered
from timemachine.training.initialisation import initialise_
from timemachine.training.state import State, mapped

# Weights with dropout or in bfloat16 are new tensors in each minibatch, which cuDNN copies into one piece. With
# the masks, that takes 3 % of a minibatch of the LSTM (benchmarks/gpu.py).
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")


class Dropout(nn.Module):
    """Dropout that drops the same units at all time steps of a subsequence (Gal and Ghahramani, 2016).

    Args:
        probability: fraction of the units that is dropped while training.
        generator: source of the masks, on the device of the units; None for torch's global generator.
        ranks: the processes that share the rows. Each draws the masks of all rows, and takes those of its own.
    """

    def __init__(self, probability: float, generator: Generator | None, ranks: Ranks = ALONE) -> None:
        super().__init__()
        self.probability = probability
        self.generator = generator
        self.ranks = ranks

    def forward(self, H: Tensor) -> Tensor:
        """Map (num_steps, batch, units) to the same shape, scaled so that the mean is unchanged."""
        if not self.training or self.probability == 0:
            return H
        kept = torch.empty((self.ranks.of_all(H.shape[1]), *H.shape[2:]), device=H.device)
        kept = kept.bernoulli_(1 - self.probability, generator=self.generator)[self.ranks.rows]
        return H * (kept / (1 - self.probability)).to(H)  # (num_steps, batch, units)


# Up to this batch size, torch's LSTM layer spends most of a single step on preparing its weights.
_FEW_ROWS = 32


def lstm_step(lstm: nn.LSTM, inputs: Tensor, state: tuple[State, ...]) -> tuple[Tensor, State]:
    """Compute one time step of a unidirectional `nn.LSTM`.

    Args:
        lstm: the layers.
        inputs: (1, batch, input_size).
        state: pair of (num_layers, batch, num_hiddens).

    Returns:
        The states of the last layer (1, batch, num_hiddens), and the new state.
    """
    H, hidden, cell = inputs[0], [], []
    for weights, previous in zip(lstm.all_weights, zip(*state, strict=True), strict=True):
        H, C = torch.lstm_cell(H, previous, *weights)
        hidden.append(H)
        cell.append(C)
    return H[None], (torch.stack(hidden), torch.stack(cell))


_LAYERS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


def run_with(weights: list[Tensor], rnn: nn.RNNBase, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Compute recurrent layers with other weights than their own, and under autocast in its precision.

    `torch.func.functional_call` would move the weights of the layers to other memory at each call on a GPU.

    Args:
        weights: W_ih, W_hh, b_ih, b_hh of each layer and direction.
        rnn: the layers.
        inputs: (num_steps, batch, input_size).
        state: of the layers; None for zeros.

    Returns:
        The states of the last layer (num_steps, batch, directions × num_hiddens), and the new state.
    """
    if state is None:
        zeros = inputs.new_zeros(len(weights) // 4, inputs.shape[1], rnn.hidden_size)
        state = (zeros, zeros) if rnn.mode == "LSTM" else zeros
    inputs, state, *weights = mapped(lowered, (inputs, state, *weights))
    arguments = (rnn.bias, rnn.num_layers, 0.0, rnn.training, rnn.bidirectional, rnn.batch_first)
    kind = inputs.device.type
    # Autocast would compute cuDNN's layers in float16.
    off = torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
    with off:
        H, *last = _LAYERS[rnn.mode](inputs, state, weights, *arguments)
    return H, tuple(last) if rnn.mode == "LSTM" else last[0]


class RNN(nn.Module):
    """An RNN, GRU or LSTM layer with a linear output layer.

    Args:
        vocab_size: number of tokens.
        num_hiddens: hidden units per layer and direction.
        cell: `rnn`, `gru` or `lstm`.
        activation: activation of the rnn cell, `tanh` or `relu`.
        embedding_dim: size of a learnt embedding; None for one-hot inputs.
        num_layers: number of stacked layers.
        embedding_dropout: fraction of the input dimensions that is dropped while training.
        weight_dropout: fraction of the hidden-to-hidden weights of a gru or lstm that is dropped in each
            minibatch (DropConnect; Merity et al., 2018).
        dropout: fraction of the hidden units of the last layer that is dropped while training.
        bidirectional: read the sequence in both directions. Such a model sees the token that it predicts, so it
            can tag sequences but is not a language model; recipes do not offer it.
        generator: source of the weights, in torch's default distributions, on the CPU; None for torch's global
            generator.
        masks: source of the dropout masks, on the device that the model computes on; None for `generator`.
        ranks: the processes that share the rows of a minibatch.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        cell: Literal["rnn", "gru", "lstm"] = "rnn",
        activation: str = "tanh",
        embedding_dim: int | None = None,
        num_layers: int = 1,
        embedding_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        dropout: float = 0.0,
        bidirectional: bool = False,
        generator: Generator | None = None,
        masks: Generator | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, embedding_dim) if embedding_dim else None
        sizes = (embedding_dim or vocab_size, num_hiddens, num_layers)
        self.rnn: nn.RNNBase
        if cell == "rnn":
            self.rnn = nn.RNN(*sizes, nonlinearity=activation, bidirectional=bidirectional)
        else:
            self.rnn = (nn.GRU if cell == "gru" else nn.LSTM)(*sizes, bidirectional=bidirectional)
        masks = generator if masks is None else masks
        self.embedding_dropout = Dropout(embedding_dropout, masks, ranks)
        self.weight_dropout = Dropout(weight_dropout, masks)  # the same in all processes
        self.dropout = Dropout(dropout, masks, ranks)
        self.output = nn.Linear((2 if bidirectional else 1) * num_hiddens, vocab_size)
        if generator is not None:
            initialise_(self, generator)

    def forward(self, X: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Map indices (batch, num_steps) to logits (batch, num_steps, vocab).

        The state has shape (num_layers × directions, batch, num_hiddens); the state of an LSTM is a pair of these.
        """
        if self.embedding is not None:
            inputs = self.embedding(X.T)
        elif self._looks_up(X):
            inputs = X.T
        else:
            inputs = F.one_hot(X.T, self.vocab_size).to(self.output.weight.dtype)  # (num_steps, batch, vocab)
        inputs = self.embedding_dropout(inputs)
        H, state = self._recur(inputs, state)
        return self.output(self.dropout(H)).transpose(0, 1), state

    def _looks_up(self, X: Tensor) -> bool:
        """Return whether a look-up replaces the product with one-hot inputs, and is faster.

        It copies W_ih once, so it pays if there are more tokens than columns of W_ih.
        """
        possible = isinstance(self.rnn, nn.RNN) and self._one_way_on_cpu(X)
        return possible and not self.embedding_dropout.probability and X.numel() > self.vocab_size

    def _one_way_on_cpu(self, inputs: Tensor) -> bool:
        return not self.rnn.bidirectional and inputs.is_cpu

    def _recur(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the recurrent layers by the fastest implementation.

        Inputs are (num_steps, batch, input_size), or indices (num_steps, batch) if `_looks_up`.
        """
        one_way_on_cpu = self._one_way_on_cpu(inputs)
        if isinstance(self.rnn, nn.RNN) and one_way_on_cpu:
            return run_layers(self.rnn, inputs, state)
        if isinstance(self.rnn, nn.LSTM) and one_way_on_cpu and isinstance(state, tuple):
            num_steps, num_rows, _ = inputs.shape
            if num_steps == 1 and num_rows <= _FEW_ROWS and not (self.training or torch.is_grad_enabled()):
                return lstm_step(self.rnn, inputs, state)
        if inputs.is_cuda:  # cuDNN's layers have a backward pass only in training mode, and no other difference
            self.rnn.train(torch.is_grad_enabled())
        # W_ih, W_hh, b_ih, b_hh of each layer
        weights: list[Tensor] = [W for layer in self.rnn.all_weights for W in layer]
        if self.training and self.weight_dropout.probability:
            weights[1::4] = [self.weight_dropout(W[None])[0] for W in weights[1::4]]
        elif lowered(inputs) is inputs:
            return self.rnn(inputs, state)
        return run_with(weights, self.rnn, inputs, state)
