"""Text to lines, lines to tokens."""

import re
from typing import Literal

from timemachine.base.errors import UserError

_NON_LETTERS = re.compile("[^A-Za-z]+")


def decode(content: bytes, name: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        UserError: the content is empty, not UTF-8, or has no letter A-Z. The message starts with `name`.
    """
    if not content:
        raise UserError(f"{name}: the text is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 at byte {error.start}") from None
    if not re.search("[A-Za-z]", text):
        raise UserError(f"{name}: the text has no letter A-Z")
    return text


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, which end with `\\n`, `\\r\\n` or `\\r` as in a text file."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def clean_lines(text: str) -> list[str]:
    """Clean each line as in the first edition: lower case, a space for each run of non-letters, stripped."""
    return [_NON_LETTERS.sub(" ", line).strip().lower() for line in split_lines(text)]


def clean_whole(text: str) -> str:
    """Clean a whole text as in the second edition: lower case, a space for each run of non-letters."""
    return _NON_LETTERS.sub(" ", text).lower()


def tokenize(lines: list[str], level: str) -> list[list[str]]:
    """Split each line into words or characters.

    Raises:
        ValueError: `level` is neither `word` nor `char`.
    """
    if level == "word":
        return [line.split() for line in lines]
    if level == "char":
        return [list(line) for line in lines]
    raise ValueError(f"unknown token level {level!r}; allowed: word, char")


def tokens_of(text: str, cleaning: Literal["lines", "whole"], level: str) -> list[str]:
    """Return the tokens of a text. Lines are joined without a space between them, as in the book."""
    lines = clean_lines(text) if cleaning == "lines" else [clean_whole(text)]
    return [token for line in tokenize(lines, level) for token in line]
