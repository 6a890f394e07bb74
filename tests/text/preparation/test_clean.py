import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timemachine.text.preparation.clean import clean, clean_whole, count_lines, split_words


def clean_lines(text: str) -> list[str]:
    """Clean each line as the first edition does."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    return [re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in lines]


def cleaned(text: str, cleaning: str, block_bytes: int = 1 << 20) -> str:
    return b"".join(clean(cut(text, block_bytes), cleaning)).decode()


def cut(text: str, block_bytes: int) -> list[bytes]:
    content = text.encode()
    return [content[begin : begin + block_bytes] for begin in range(0, len(content), block_bytes)]


def test_the_book_has_its_lines_and_they_clean_as_published(book: str) -> None:
    lines = clean_lines(book)
    assert len(lines) == count_lines([book.encode()]) == 3221
    assert lines[0] == "the time machine by h g wells"
    assert lines[10] == "twinkled and his usually pale face was flushed and animated the"
    assert cleaned(book, "lines") == "".join(lines)


def test_whole_and_lines_give_the_published_numbers_of_characters(book: str) -> None:
    assert len(cleaned(book, "lines")) == 170_580
    assert len(clean_whole(book)) == len(cleaned(book, "whole")) == 173_428


def test_lines_fuse_words_at_their_ends_and_whole_does_not() -> None:
    assert cleaned("of him\nwas", "lines") == "of himwas"
    assert cleaned("of him\nwas", "whole") == "of him was"


@given(st.text(st.sampled_from("aBz .\n\ré\N{CYRILLIC SMALL LETTER A}\x0b\u2028\0")), st.integers(1, 4))
@example("", 1)
@example(" \r\n a\r\n\n .. b ", 1)
@example("a\N{COMBINING ACUTE ACCENT}b", 2)
def test_a_text_cut_anywhere_cleans_as_its_characters_do(text: str, block_bytes: int) -> None:
    blocks = cut(text, block_bytes)
    assert cleaned(text, "whole", block_bytes) == clean_whole(text)
    assert cleaned(text, "lines", block_bytes) == "".join(clean_lines(text))
    assert [word for words in split_words(blocks) for word in words] == clean_whole(text).split()
    assert count_lines(blocks) == len(clean_lines(text))


@pytest.mark.parametrize("text", ["a\nb", "a\nb\n", "a\r\nb\r\n", "a\rb"])
def test_only_newlines_end_a_line(text: str) -> None:
    assert count_lines([text.encode()]) == 2
    assert count_lines(["a\x0bb\u2028c".encode()]) == 1
