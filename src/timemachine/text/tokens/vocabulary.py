"""Conversion between tokens and indices."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from timemachine.base.errors import UserError
from timemachine.base.files import read_json, write_text
from timemachine.text.tokens.config import Level

UNK = "<unk>"


class Vocabulary:
    """A bijection between tokens and the indices 0 … len − 1. Unknown tokens have the index of `<unk>`.

    Args:
        tokens: distinct tokens by index, including `<unk>`.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        self._index = {token: index for index, token in enumerate(self.tokens)}
        assert len(self._index) == len(self.tokens), "duplicate tokens"
        self.unk = self._index[UNK]

    @classmethod
    def build(
        cls,
        tokens: Iterable[str] | Mapping[str, int],
        *,
        order: Literal["frequency", "sorted"] = "frequency",
        min_freq: int = 0,
        reserved_tokens: Sequence[str] = (),
    ) -> "Vocabulary":
        """Return the vocabulary of all tokens with a count of at least `min_freq`.

        The order `frequency` is that of the first edition: `<unk>`, the reserved tokens, then the others by
        descending count, and by first occurrence if counts are equal. The order `sorted` is that of the second
        edition: all tokens, including `<unk>` and the reserved ones, sorted as strings.

        Args:
            tokens: all tokens, or their counts in the order of their first occurrence.
            order: `frequency` or `sorted`.
            min_freq: smallest count of a token of the vocabulary.
            reserved_tokens: tokens that the vocabulary has even if they do not occur.
        """
        special = [UNK, *reserved_tokens]
        kept = [t for t, count in Counter(tokens).most_common() if count >= min_freq and t not in special]
        return cls([*special, *kept] if order == "frequency" else sorted([*special, *kept]))

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._index

    @overload
    def __getitem__(self, tokens: str) -> int: ...
    @overload
    def __getitem__(self, tokens: Sequence[Any]) -> list[Any]: ...
    def __getitem__(self, tokens: str | Sequence[Any]) -> int | list[Any]:
        """Return the index of a token, or the nested list of indices of a nested list of tokens."""
        if isinstance(tokens, str):
            return self._index.get(tokens, self.unk)
        return [self[token] for token in tokens]

    @overload
    def to_tokens(self, indices: int) -> str: ...
    @overload
    def to_tokens(self, indices: Sequence[Any]) -> list[Any]: ...
    def to_tokens(self, indices: int | Sequence[Any]) -> str | list[Any]:
        """Return the token of an index, or the nested list of tokens of a nested list of indices.

        Raises:
            IndexError: an index is not in 0 … len − 1.
        """
        if hasattr(indices, "__iter__"):
            return [self.to_tokens(index) for index in indices]
        if not 0 <= indices < len(self.tokens):
            raise IndexError(f"no token has index {indices}; the vocabulary has {len(self)}")
        return self.tokens[indices]

    @property
    def sha256(self) -> str:
        """The hash of the tokens in their order."""
        return hashlib.sha256(json.dumps(self.tokens).encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the tokens in their order as JSON."""
        write_text(path, json.dumps({"tokens": self.tokens}, ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read a vocabulary.

        Raises:
            UserError: the file does not exist, is damaged, or is not a vocabulary.
        """
        content = read_json(path)
        tokens = content.get("tokens") if isinstance(content, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise UserError(f"{path}: not a vocabulary; recreate it with `dvc repro`")
        if len(set(tokens)) < len(tokens) or UNK not in tokens:
            raise UserError(f"{path}: duplicate tokens, or no {UNK}; recreate it with `dvc repro`")
        return cls(tokens)


@dataclass(frozen=True)
class Tokenizer:
    """Conversion between text and indices.

    Attributes:
        vocabulary: the tokens by index.
        level: `char` or `word`.
    """

    vocabulary: Vocabulary
    level: Level

    def encode(self, text: str) -> list[int]:
        """Return the indices of the characters or words of a text."""
        return self.vocabulary[list(text) if self.level == "char" else text.split()]

    def decode(self, indices: Sequence[int]) -> str:
        """Return the text of indices. Words are joined by a space."""
        return ("" if self.level == "char" else " ").join(self.vocabulary.to_tokens(indices))
