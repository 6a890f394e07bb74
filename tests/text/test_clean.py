import pytest

from timemachine.text.clean import clean_lines, clean_whole, decode, split_lines, tokenize, tokens_of


def test_the_book_has_its_lines_and_they_clean_as_published(book: str) -> None:
    lines = clean_lines(book)
    assert len(lines) == 3221
    assert lines[0] == "the time machine by h g wells"
    assert lines[10] == "twinkled and his usually pale face was flushed and animated the"


def test_whole_and_lines_give_the_published_numbers_of_characters(book: str) -> None:
    assert len(tokens_of(book, "lines", "char")) == 170_580
    assert len(clean_whole(book)) == len(tokens_of(book, "whole", "char")) == 173_428


def test_lines_fuse_words_at_their_ends_and_whole_does_not() -> None:
    assert "".join(tokens_of("of him\nwas", "lines", "char")) == "of himwas"
    assert "".join(tokens_of("of him\nwas", "whole", "char")) == "of him was"


@pytest.mark.parametrize("text", ["a\nb", "a\nb\n", "a\r\nb\r\n", "a\rb"])
def test_only_newlines_end_a_line(text: str) -> None:
    assert split_lines(text) == ["a", "b"]
    assert split_lines("a\x0bb\u2028c") == ["a\x0bb\u2028c"]


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'line'.*word, char"):
        tokenize(["a"], "line")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"a\xff", "UTF-8 at byte 1"), (b"1 2!", "no letter")]
)
def test_a_text_that_is_none_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"f.txt: .*{reason}"):
        decode(content, "f.txt")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert decode("\ufefftime".encode(), "f.txt") == "time"
