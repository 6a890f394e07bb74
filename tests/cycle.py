"""A corpus that goes a b c a b c … and a model that knows it as surely as one likes."""

import numpy as np
from torch import Tensor, nn

from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<unk>", "a", "b", "c"])
CORPUS = Corpus(
    np.tile(np.array([1, 2, 3], dtype=np.uint8), 40),
    VOCABULARY,
    "char",
    0.0,
    {"train": (0, 96), "val": (96, 108), "test": (108, 120)},
)
# 1,200 random tokens of the same vocabulary.
RANDOM = Corpus(
    np.random.default_rng(0).integers(1, len(VOCABULARY), 1200).astype(np.uint8),
    VOCABULARY,
    "char",
    0.0,
    {"train": (0, 800), "val": (800, 1000), "test": (1000, 1200)},
)


class Cycle(nn.Module):
    """Gives the token that follows in the cycle a b c the log-odds `certainty` over the others."""

    def __init__(self, certainty: float) -> None:
        super().__init__()
        self.certainty = certainty

    def forward(self, X: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.certainty * nn.functional.one_hot(X % 3 + 1, 4).float(), None
