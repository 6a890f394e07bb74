"""Cleaning: a text to lower-case letters and spaces, a block of bytes at a time.

A letter is one of A-Z and a-z. All other bytes of UTF-8 text separate words, also those of letters with accents,
so no byte has to be decoded. Memory does not grow with the text, apart from its longest word.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

Cleaning = Literal["lines", "whole"]

_NON_LETTERS = re.compile("[^A-Za-z]+")
_SPACE, _LINE_END = b" \n"
_LETTERS = bytes(byte | 0x20 if bytes([byte]).isalpha() else _SPACE for byte in range(256))
_LETTERS_AND_LINE_ENDS = bytes(_LINE_END if byte in b"\r\n" else _LETTERS[byte] for byte in range(256))


def clean_whole(text: str) -> str:
    """Clean a text as in the second edition: lower case, a space for each run of non-letters."""
    return _NON_LETTERS.sub(" ", text).lower()


def clean(blocks: Iterable[bytes], cleaning: Cleaning) -> Iterator[bytes]:
    """Yield the cleaned characters of a text.

    `whole` is `clean_whole`. `lines` cleans each line as in the first edition: lower case, a space for each run of
    non-letters, stripped. Lines are joined without a space between them, as in the book.

    Args:
        blocks: the text as UTF-8, cut anywhere.
        cleaning: `lines` or `whole`.
    """
    lines = cleaning == "lines"
    table = _LETTERS_AND_LINE_ENDS if lines else _LETTERS
    before = b"\n" if lines else b"a"  # so that a run at the start is dropped, or is a space
    held = b""  # a space at the end of a block; it is dropped if the line ends after it
    for block in blocks:
        translated = before + block.translate(table)
        before = translated[-1:]
        text = np.frombuffer(translated, dtype=np.uint8)
        kept = text > _SPACE
        kept[1:] |= kept[:-1]  # the first byte of each run, which is the space
        if lines:
            kept |= text == _LINE_END
        cleaned = text[1:][kept[1:]].tobytes()
        if lines:
            joined = held + cleaned
            cleaned = joined.removesuffix(b" ")
            held = joined[len(cleaned) :]
            cleaned = cleaned.replace(b" \n", b"").translate(None, b"\n")
        yield cleaned


def split_words(blocks: Iterable[bytes]) -> Iterator[list[str]]:
    """Yield the words of a text, in lower case. They are the same for both kinds of cleaning.

    Args:
        blocks: the text as UTF-8, cut anywhere.
    """
    rest = ""
    for block in blocks:
        text = rest + block.translate(_LETTERS).decode("ascii")
        end = text.rfind(" ") + 1  # the word after it may go on in the next block
        rest = text[end:]
        yield text[:end].split()
    yield rest.split()


def count_lines(blocks: Iterable[bytes]) -> int:
    """Return the number of lines of a text, which end with `\\n`, `\\r\\n` or `\\r` as in a text file.

    Args:
        blocks: the text, cut anywhere.
    """
    num_ends, last = 0, b""
    for block in filter(None, blocks):
        num_ends += block.count(b"\n") + block.count(b"\r") - (last + block).count(b"\r\n")
        last = block[-1:]
    return num_ends + (last not in (b"\n", b"\r"))
