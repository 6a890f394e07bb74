"""The tokens of a text as numbers in a file, until the vocabulary is known."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from timemachine.text.preparation.clean import Cleaning, clean, split_words
from timemachine.text.tokens.config import Level
from timemachine.text.tokens.vocabulary import Vocabulary

_BLOCK_BYTES = 1 << 20


class Numbered:
    """Tokens whose order in the vocabulary is not known yet.

    A vocabulary can be ordered by count, so the index of a token is known only after the last token. Until then a
    character has its code as its number, and a word the number of distinct words before it. The numbers are in a
    file, so memory grows with the distinct tokens only.

    Args:
        file: an empty file for the numbers.
        cleaning: `lines` or `whole`, see `timemachine.text.preparation.clean`.
        level: `char` or `word`.
    """

    def __init__(self, file: IO[bytes], cleaning: Cleaning, level: Level) -> None:
        self._file = file
        self._cleaning = cleaning
        self._level = level
        self._dtype = np.dtype(np.uint8 if level == "char" else np.int32)
        self._numbers = _Numbers()

    def add(self, blocks: Iterable[bytes]) -> int:
        """Append the tokens of a piece of the text, and return the number of all tokens so far.

        Args:
            blocks: the piece as UTF-8, cut anywhere.
        """
        for numbers in self._of_characters(blocks) if self._level == "char" else self._of_words(blocks):
            self._file.write(numbers.data)
        return self._file.tell() // self._dtype.itemsize

    def counts(self) -> dict[str, int]:
        """Return the count of each token, in the order of their first occurrence."""
        counts = np.zeros(max(self._numbers.values(), default=-1) + 1, dtype=np.int64)
        for numbers in self._read():
            counts += np.bincount(numbers, minlength=len(counts))
        return dict(zip(self._numbers, counts[[*self._numbers.values()]].tolist(), strict=True))

    def indices(self, vocabulary: Vocabulary, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        """Yield the indices of all tokens in a vocabulary, in blocks of a type."""
        index_of = np.zeros(max(self._numbers.values(), default=-1) + 1, dtype)
        index_of[[*self._numbers.values()]] = vocabulary[[*self._numbers]]
        return (index_of[numbers] for numbers in self._read())

    def _of_characters(self, blocks: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
        for text in clean(blocks, self._cleaning):
            for code in dict.fromkeys(text.translate(None, bytes(self._numbers.values()))):  # the new ones
                self._numbers[chr(code)] = code
            yield np.frombuffer(text, dtype=np.uint8)

    def _of_words(self, blocks: Iterable[bytes]) -> Iterator[NDArray[np.int32]]:
        for words in split_words(blocks):
            yield np.fromiter(map(self._numbers.__getitem__, words), np.int32, len(words))

    def _read(self) -> Iterator[NDArray[np.integer[Any]]]:
        self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            yield np.frombuffer(block, self._dtype)


class _Numbers(dict[str, int]):
    """Numbers by token. A new token gets the number of tokens before it."""

    def __missing__(self, token: str) -> int:
        return self.setdefault(token, len(self))
