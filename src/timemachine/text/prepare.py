"""From a raw text to a corpus."""

from typing import Literal

import numpy as np

from timemachine.text.clean import tokens_of
from timemachine.text.corpus import PARTS, Corpus, Level
from timemachine.text.vocabulary import Vocabulary


def build_corpus(
    text: str,
    *,
    cleaning: Literal["lines", "whole"],
    level: Level,
    order: Literal["frequency", "sorted"],
    min_freq: int,
    reserved_tokens: list[str],
    fractions: tuple[float, float, float],
) -> Corpus:
    """Clean, tokenize, number and split a text.

    Args:
        text: the raw text.
        cleaning: `lines` or `whole`, see `timemachine.text.clean`.
        level: `char` or `word`.
        order: of the vocabulary, see `Vocabulary.build`.
        min_freq: rarer tokens become `<unk>`.
        reserved_tokens: put into the vocabulary whether they occur or not.
        fractions: of train, validation and test; the cuts are rounded down.

    Raises:
        ValueError: a part would be empty.
    """
    stream = tokens_of(text, cleaning, level)
    vocabulary = Vocabulary.build(stream, order=order, min_freq=min_freq, reserved_tokens=reserved_tokens)
    tokens = np.array(vocabulary[stream], dtype=np.min_scalar_type(len(vocabulary) - 1))
    train, val, _ = fractions
    # The rounding takes the 0.9 of 0.8 + 0.1 for what is meant.
    cuts = [0, int(len(stream) * train), int(len(stream) * round(train + val, 9)), len(stream)]
    split = {part: (cuts[i], cuts[i + 1]) for i, part in enumerate(PARTS)}
    for part, (begin, end) in split.items():
        if begin == end:
            raise ValueError(f"a text of {len(stream)} tokens leaves the {part} part empty")
    unknown = [len(token) for token in stream if token not in vocabulary]
    unk_length = sum(unknown) / len(unknown) if unknown else 0.0
    return Corpus(tokens, vocabulary, level, unk_length, split)
