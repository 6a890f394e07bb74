"""A context mixture that writes text as recurrent models do."""

from pathlib import Path

import torch
from torch import Tensor, nn

from timemachine.base.errors import about
from timemachine.language.ngrams.config import ContextMixingParams
from timemachine.language.ngrams.context_mixing import ContextMixing
from timemachine.language.ngrams.contexts import History
from timemachine.language.ngrams.reading import read_train_part
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.vocabulary import Tokenizer


class CountedModel(nn.Module):
    """A context mixture with the interface of a recurrent model; its state is the history of the text it writes.

    It does not learn from what it writes, and a text does not continue the one that it has learnt from. A state is
    changed in place.
    """

    def __init__(self, mixture: ContextMixing) -> None:
        super().__init__()
        self._mixture = mixture

    def forward(self, tokens: Tensor, state: list[History] | None) -> tuple[Tensor, list[History]]:
        """Return log P (batch, num_steps, vocab) after each of the tokens (batch, num_steps), and the state."""
        histories = [self._mixture.history() for _ in tokens] if state is None else state
        rows = zip(histories, tokens.numpy(), strict=True)
        return torch.stack([torch.from_numpy(self._mixture.follow(*row)) for row in rows]), histories


def count_corpus(folder: Path, p: ContextMixingParams) -> tuple[CountedModel, Tokenizer]:
    """Return a context mixture that has read the train part of a corpus, and the tokenizer of the corpus.

    Raises:
        UserError: the corpus does not exist, is damaged or too short, or its vocabulary is too large.
    """
    corpus = Corpus.load(folder)
    with about("context_mixing"):
        return CountedModel(read_train_part(corpus, p)), corpus.tokenizer
