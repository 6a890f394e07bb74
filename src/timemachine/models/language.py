"""From a recipe, or a checkpoint's `config.json`, to the language model it describes."""

from typing import Any

from torch import Generator, nn

from timemachine.models.rnn import RNN
from timemachine.models.rnn_scratch import RNNScratch


def build_language_model(config: dict[str, Any], generator: Generator | None = None) -> nn.Module:
    """Make a language model.

    Args:
        config: `vocab_size`, and the fields `implementation`, `cell`, `activation`, `embedding_dim`,
            `num_hiddens` and `num_layers` of a recipe.
        generator: where initial weights are drawn from.
    """
    shared = {key: config[key] for key in ("vocab_size", "num_hiddens", "activation", "embedding_dim")}
    if config["implementation"] == "scratch":
        return RNNScratch(**shared, generator=generator)
    return RNN(**shared, cell=config["cell"], num_layers=config["num_layers"], generator=generator)
