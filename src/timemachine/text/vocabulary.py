"""Tokens to numbers and back."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from timemachine.base.errors import UserError
from timemachine.base.files import read_json, write_text
from timemachine.text.config import Level

UNK = "<unk>"


class Vocabulary:
    """A bijection between tokens and 0 … len − 1, with `<unk>` for whatever it does not know.

    Args:
        tokens: all tokens by index, `<unk>` among them.

    Raises:
        UserError: a token occurs twice, or `<unk>` is missing.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        self._index = {token: index for index, token in enumerate(self.tokens)}
        if len(self._index) != len(self.tokens) or UNK not in self._index:
            raise UserError(f"a vocabulary needs distinct tokens and {UNK}")
        self.unk = self._index[UNK]

    @classmethod
    def build(
        cls,
        tokens: Iterable[str],
        *,
        order: Literal["frequency", "sorted"] = "frequency",
        min_freq: int = 0,
        reserved_tokens: Sequence[str] = (),
    ) -> "Vocabulary":
        """Make the vocabulary of a token stream.

        Tokens of count ≥ `min_freq` are kept. `frequency` is the first edition's order: `<unk>`, the reserved
        tokens, then by falling count, ties by first appearance. `sorted` is the second edition's: everything,
        `<unk>` and reserved tokens too, in the order of its characters.
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
        """The hash of the tokens in order: two vocabularies with it are the same."""
        return hashlib.sha256(json.dumps(self.tokens).encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the tokens, in order, as JSON."""
        write_text(path, json.dumps({"tokens": self.tokens}, ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read a vocabulary.

        Raises:
            UserError: the file is absent, damaged, or not a vocabulary.
        """
        content = read_json(path)
        tokens = content.get("tokens") if isinstance(content, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise UserError(f"{path}: not a vocabulary; `dvc repro` makes it again")
        try:
            return cls(tokens)
        except ValueError as error:
            raise UserError(f"{path}: {error}; `dvc repro` makes it again") from None


@dataclass(frozen=True)
class Tokenizer:
    """Text to indices and back.

    Attributes:
        vocabulary: the tokens.
        level: whether they are characters or words.
    """

    vocabulary: Vocabulary
    level: Level

    def encode(self, text: str) -> list[int]:
        """Return the indices of a text's characters or words; unknown ones become `<unk>`."""
        return self.vocabulary[list(text) if self.level == "char" else text.split()]

    def decode(self, indices: Sequence[int]) -> str:
        """Return the text of indices; words are joined by a space."""
        return ("" if self.level == "char" else " ").join(self.vocabulary.to_tokens(indices))
