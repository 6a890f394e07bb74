from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_text

from timemachine.text.corpus import Corpus
from timemachine.text.prepare import build_corpus

OPTIONS = {"order": "frequency", "min_freq": 0, "reserved_tokens": [], "fractions": (0.8, 0.1, 0.1)}


def test_the_book_splits_into_contiguous_parts_that_cover_it(book: str) -> None:
    corpus = build_corpus(book, cleaning="whole", level="char", **OPTIONS)
    assert corpus.split == {"train": (0, 138_742), "val": (138_742, 156_085), "test": (156_085, 173_428)}
    joined = np.concatenate([corpus.part(part) for part in ("train", "val", "test")])
    assert np.array_equal(joined, corpus.tokens)


def test_tokens_take_the_smallest_type_that_holds_them(book: str) -> None:
    assert build_corpus("ab" * 50, cleaning="lines", level="char", **OPTIONS).tokens.dtype == np.uint8
    assert build_corpus(book, cleaning="lines", level="word", **OPTIONS).tokens.dtype == np.uint16


def test_encoding_and_decoding_are_inverse_on_known_text() -> None:
    for level in ("char", "word"):
        corpus = build_corpus(tiny_text(), cleaning="lines", level=level, **OPTIONS)
        assert corpus.tokenizer.decode(corpus.tokenizer.encode("the time traveller")) == "the time traveller"


def test_words_count_their_characters_and_a_space_each() -> None:
    corpus = build_corpus("ab cde " * 20, cleaning="lines", level="word", **OPTIONS)
    assert corpus.num_characters(corpus.tokens[:2]) == len("ab cde ")


def test_unknown_words_count_as_many_characters_as_they_had_in_the_mean() -> None:
    text = "ab ab cde f "
    corpus = build_corpus(text * 10 + "rarest", cleaning="lines", level="word", **OPTIONS | {"min_freq": 11})
    assert corpus.unk_length == (30 + 10 + 6) / 21
    assert corpus.num_characters(corpus.tokens) == len(text) * 10 + len("rarest ")


def test_a_text_too_short_to_split_is_refused() -> None:
    with pytest.raises(ValueError, match="3 tokens leaves the val part empty"):
        build_corpus("abc", cleaning="lines", level="char", **OPTIONS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_corpus(tiny_text(), cleaning="lines", level="char", **OPTIONS).save(tmp_path)
    return tmp_path


def test_a_saved_corpus_comes_back(folder: Path) -> None:
    corpus = build_corpus(tiny_text(), cleaning="lines", level="char", **OPTIONS)
    loaded = Corpus.load(folder)
    assert np.array_equal(loaded.tokens, corpus.tokens)
    assert (loaded.vocabulary.tokens, loaded.split, loaded.level) == (
        corpus.vocabulary.tokens,
        corpus.split,
        "char",
    )


@pytest.mark.parametrize("name", ["tokens.npy", "vocabulary.json", "split.json"])
@pytest.mark.parametrize("damage", ["absent", "cut", "empty", "other"])
def test_a_damaged_corpus_names_the_file(name: str, damage: str, folder: Path) -> None:
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"{}"}[damage])
    with pytest.raises(ValueError, match=name):
        Corpus.load(folder)


def test_tokens_outside_the_vocabulary_are_refused(folder: Path) -> None:
    np.save(folder / "tokens.npy", np.full(10, 200, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"tokens\.npy"):
        Corpus.load(folder)


def test_tokens_of_a_damaged_size_are_refused(folder: Path) -> None:
    with (folder / "tokens.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"tokens\.npy"):
        Corpus.load(folder)


def with_and_without(level: str, cleaning: str) -> tuple[Corpus, Corpus]:
    added = ["Zebras quoth nothing of the grey machine.", "Of xylophones, nothing."]
    options = {**OPTIONS, "cleaning": cleaning, "level": level}
    return build_corpus(tiny_text(), **options), build_corpus(tiny_text(), **options, added=added)


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("cleaning", ["lines", "whole"])
def test_added_texts_change_neither_the_parts_held_out_nor_the_book_before_them(level: str, cleaning: str) -> None:
    own, extended = with_and_without(level, cleaning)
    assert own.num_added == 0 < extended.num_added
    for part in ("val", "test"):
        assert extended.tokenizer.decode(extended.part(part)) == own.tokenizer.decode(own.part(part))
        assert extended.split[part][0] == own.split[part][0] + extended.num_added
    book = extended.part("train")[extended.num_added :]
    assert extended.tokenizer.decode(book) == own.tokenizer.decode(own.part("train"))


def test_added_texts_stand_in_front_in_their_order_and_bring_their_tokens() -> None:
    own, extended = with_and_without("word", "whole")
    text = extended.tokenizer.decode(extended.tokens[: extended.num_added])
    assert text == "zebras quoth nothing of the grey machine of xylophones nothing"
    new = {"zebras", "quoth", "nothing", "xylophones"}
    assert set(extended.vocabulary.tokens) == set(own.vocabulary.tokens) | new


def test_added_texts_do_not_make_up_for_a_book_too_short_to_split() -> None:
    with pytest.raises(ValueError, match="3 tokens leaves the val part empty"):
        build_corpus("abc", cleaning="lines", level="char", **OPTIONS, added=[tiny_text()])


def test_a_corpus_with_added_texts_comes_back(folder: Path) -> None:
    _, extended = with_and_without("char", "whole")
    extended.save(folder)
    assert Corpus.load(folder).num_added == extended.num_added
