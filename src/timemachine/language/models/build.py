"""From a recipe to the language model it describes."""

from torch import Generator, nn

from timemachine.language.models.config import RnnConfig, RnnRecipe
from timemachine.language.models.rnn import RNN
from timemachine.language.models.rnn_scratch import RNNScratch


def build_language_model(recipe: RnnRecipe, vocab_size: int, generator: Generator | None = None) -> nn.Module:
    """Make a language model.

    Args:
        recipe: what the module is like.
        vocab_size: number of tokens.
        generator: where initial weights, and what is dropped while training, are drawn from; without one, from
            torch's global generator.
    """
    r = recipe
    if r.implementation == "scratch":
        return RNNScratch(vocab_size, r.num_hiddens, r.activation, r.embedding_dim, generator)
    return RNN(
        vocab_size,
        r.num_hiddens,
        cell=r.cell,
        activation=r.activation,
        embedding_dim=r.embedding_dim,
        num_layers=r.num_layers,
        embedding_dropout=r.embedding_dropout,
        weight_dropout=r.weight_dropout,
        dropout=r.dropout,
        generator=generator,
    )


def rebuild_language_model(config: RnnConfig) -> nn.Module:
    """Make the module that a checkpoint's config describes; its weights are still to be loaded."""
    return build_language_model(config, config.vocab_size)
