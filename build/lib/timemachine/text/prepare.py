"""From a raw text to corpora."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from timemachine.base.errors import UserError
from timemachine.text.clean import decode, split_lines, tokens_of
from timemachine.text.config import Level
from timemachine.text.corpus import PARTS, Corpus
from timemachine.text.vocabulary import Vocabulary


def read_accepted(folder: Path) -> dict[str, str]:
    """Return the texts that extend the train part, by file name. Hidden files are left out.

    Raises:
        UserError: a file is not a text, or is a link.
    """
    paths = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    if links := [path for path in paths if path.is_symlink()]:
        raise UserError(f"{links[0]}: a link; put the text itself here")
    return {path.name: decode(path.read_bytes(), str(path)) for path in paths}


def build_corpus(
    text: str,
    *,
    cleaning: Literal["lines", "whole"],
    level: Level,
    order: Literal["frequency", "sorted"],
    min_freq: int,
    reserved_tokens: list[str],
    fractions: tuple[float, float, float],
    added: Sequence[str] = (),
) -> Corpus:
    """Clean, tokenize, index and split a text.

    Args:
        text: the raw text.
        cleaning: `lines` or `whole`, see `timemachine.text.clean`.
        level: `char` or `word`.
        order: of the vocabulary, see `Vocabulary.build`.
        min_freq: tokens with a smaller count become `<unk>`.
        reserved_tokens: tokens that the vocabulary has even if they do not occur.
        fractions: of train, validation and test. The number of tokens is rounded down.
        added: further raw texts. They are put before the train part, so the validation and test parts, and the
            text before them, do not depend on them.

    Raises:
        UserError: a part would be empty.
    """
    before = [token for other in added for token in tokens_of(f"{other}\n", cleaning, level)]
    stream = before + tokens_of(text, cleaning, level)
    vocabulary = Vocabulary.build(stream, order=order, min_freq=min_freq, reserved_tokens=reserved_tokens)
    tokens = np.array(vocabulary[stream], dtype=np.min_scalar_type(len(vocabulary) - 1))
    train, val, _ = fractions
    num_added = len(before)
    num_own = len(stream) - num_added
    # Rounded because 0.8 + 0.1 is slightly more than 0.9.
    cuts = [0, *(num_added + int(num_own * part) for part in (train, round(train + val, 9), 1.0))]
    split = {part: (cuts[i], cuts[i + 1]) for i, part in enumerate(PARTS)}
    for part, (begin, end) in split.items():
        if begin == end or (part == "train" and end == num_added):
            raise UserError(f"a text of {num_own} tokens leaves the {part} part empty")
    unknown = [len(token) for token in stream if token not in vocabulary]
    unk_length = sum(unknown) / len(unknown) if unknown else 0.0
    return Corpus(tokens, vocabulary, level, unk_length, split, num_added)


def summarise(raw: bytes, added: Mapping[str, str], corpora: Mapping[str, Corpus]) -> dict[str, Any]:
    """Return the report: lines and hash of the raw text, hashes of the added texts, sizes of the corpora.

    Args:
        raw: the raw text as UTF-8.
        added: the added texts, by file name.
        corpora: by name.
    """
    return {
        "num_lines": len(split_lines(decode(raw, "the text"))),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "added": {name: hashlib.sha256(other.encode()).hexdigest() for name, other in added.items()},
        **{n: {"tokens": len(c.tokens), "vocab_size": len(c.vocabulary)} for n, c in corpora.items()},
    }
