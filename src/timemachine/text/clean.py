"""Text to lines, lines to tokens."""

import re
from typing import Literal

from timemachine.base.errors import UserError

_NON_LETTERS = re.compile("[^A-Za-z]+")


def decode(content: bytes, name: str) -> str:
    """Return the text in `content`: UTF-8, with or without a byte order mark, and at least one letter.

    Raises:
        UserError: empty, not UTF-8, or without a letter A-Z; the message starts with `name`.
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
    """Return the lines of a text as a file would be read: only newlines end a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def clean_lines(text: str) -> list[str]:
    """Clean line by line: runs of non-letters become one space, stripped, lower case (first edition)."""
    return [_NON_LETTERS.sub(" ", line).strip().lower() for line in split_lines(text)]


def clean_whole(text: str) -> str:
    """Clean the text at once: runs of non-letters become one space, lower case (second edition)."""
    return _NON_LETTERS.sub(" ", text).lower()


def tokenize(lines: list[str], level: str) -> list[list[str]]:
    """Split each line into words or characters.

    Raises:
        UserError: `level` is neither `word` nor `char`.
    """
    if level == "word":
        return [line.split() for line in lines]
    if level == "char":
        return [list(line) for line in lines]
    raise UserError(f"unknown token level {level!r}; allowed: word, char")


def tokens_of(text: str, cleaning: Literal["lines", "whole"], level: str) -> list[str]:
    """Return the token stream of a text; lines are joined with nothing between, as in the book."""
    lines = clean_lines(text) if cleaning == "lines" else [clean_whole(text)]
    return [token for line in tokenize(lines, level) for token in line]
