from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.text.preparation.clean import clean_whole
from timemachine.text.tokens.vocabulary import Vocabulary

TOKENS = ["b", "a", "c", "a", "c", "a"]


def test_the_words_of_the_book_are_numbered_as_published(book: str) -> None:
    lines = [clean_whole(line).split() for line in book.splitlines()]
    vocabulary = Vocabulary.build(token for line in lines for token in line)
    assert len(vocabulary) == 4580
    assert vocabulary.tokens[:10] == ["<unk>", "the", "i", "and", "of", "a", "to", "was", "in", "that"]
    assert vocabulary[lines[0]] == [1, 19, 50, 40, 2183, 2184, 400]
    assert vocabulary[lines[10]] == [2186, 3, 25, 1044, 362, 113, 7, 1421, 3, 1045, 1]


def test_the_characters_of_the_book_are_28(book: str) -> None:
    assert len(Vocabulary.build(clean_whole(book))) == 28


def test_counts_give_the_vocabulary_of_the_tokens_that_they_count() -> None:
    assert Vocabulary.build({"b": 1, "a": 3, "c": 2}).tokens == Vocabulary.build(TOKENS).tokens


def test_frequency_puts_reserved_tokens_after_unk_and_ties_by_first_appearance() -> None:
    vocabulary = Vocabulary.build(["b", "d", *TOKENS], reserved_tokens=["<pad>", "<bos>"])
    assert vocabulary.tokens == ["<unk>", "<pad>", "<bos>", "a", "b", "c", "d"]


def test_sorted_sorts_everything() -> None:
    assert Vocabulary.build([*TOKENS, " "], order="sorted").tokens == [" ", "<unk>", "a", "b", "c"]


def test_tokens_below_min_freq_become_unk() -> None:
    vocabulary = Vocabulary.build(TOKENS, min_freq=2)
    assert vocabulary.tokens == ["<unk>", "a", "c"]
    assert vocabulary["b"] == vocabulary.unk == 0


@given(st.recursive(st.sampled_from("abcd"), lambda nested: st.lists(nested, max_size=3)))
def test_nested_look_ups_go_there_and_back(tokens: str | list) -> None:
    vocabulary = Vocabulary.build("abcd")
    assert vocabulary.to_tokens(vocabulary[tokens]) == tokens


@pytest.mark.parametrize("index", [-1, 99])
def test_an_index_outside_is_an_error(index: int) -> None:
    with pytest.raises(IndexError, match=str(index)):
        Vocabulary.build(TOKENS).to_tokens([index])


def test_a_saved_vocabulary_comes_back(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build([*TOKENS, "é", '"'])
    vocabulary.save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.tokens == vocabulary.tokens
    assert loaded.sha256 == vocabulary.sha256


@pytest.mark.parametrize("content", ["", "{}", '{"tokens": ["a"]}', '{"tokens": ["<unk>", "a", "a"]}', "[1]"])
def test_a_damaged_vocabulary_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"v\.json: .*dvc repro"):
        Vocabulary.load(path)
