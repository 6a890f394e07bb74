"""Build the language model that a recipe describes."""

from torch import Generator, nn

from timemachine.language.models.config import RnnRecipe
from timemachine.language.models.rnn import RNN
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.training.data_parallel import ALONE, Ranks


def build_language_model(
    recipe: RnnRecipe,
    vocab_size: int,
    generator: Generator | None = None,
    masks: Generator | None = None,
    ranks: Ranks = ALONE,
) -> nn.Module:
    """Return the module of a recipe with initial weights.

    Args:
        recipe: implementation, cell and sizes.
        vocab_size: number of tokens in the vocabulary.
        generator: source of the initial weights, on the CPU; None for torch's global generator.
        masks: source of the dropout masks, on the device that the model will compute on; None for `generator`.
        ranks: the processes that share the rows of a minibatch.
    """
    r = recipe
    if r.implementation == "scratch":
        return RNNScratch(vocab_size, r.num_hiddens, r.activation, r.embedding_dim, generator)
    architecture = {"num_hiddens", "cell", "activation", "embedding_dim", "num_layers"}
    dropouts = {"embedding_dropout", "weight_dropout", "dropout"}
    return RNN(
        vocab_size, generator=generator, masks=masks, ranks=ranks, **r.model_dump(include=architecture | dropouts)
    )
