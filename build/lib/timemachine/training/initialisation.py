"""Initial weights from a given generator instead of torch's global one."""

import math

import torch
from torch import Generator, nn


@torch.no_grad()
def initialise_(module: nn.Module, generator: Generator) -> None:
    """Draw torch's default distributions for linear, embedding and recurrent layers from `generator`.

    Linear: U(±1/√in_features), weights and biases. Recurrent: U(±1/√hidden_size). Embedding: N(0, 1).

    Raises:
        TypeError: a layer of another type has parameters. They would stay as torch's global generator drew them.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Embedding):
            layer.weight.normal_(generator=generator)
        elif isinstance(layer, (nn.Linear, nn.RNNBase)):
            bound = 1 / math.sqrt(layer.in_features if isinstance(layer, nn.Linear) else layer.hidden_size)
            for parameter in layer.parameters(recurse=False):
                parameter.uniform_(-bound, bound, generator=generator)
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(f"no known initialisation for the parameters of {type(layer).__name__} {name!r}")
