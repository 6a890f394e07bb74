import hashlib
import resource
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_text

from timemachine.text.preparation.prepare import Piece, accepted_pieces, build_corpus, summarise
from timemachine.text.tokens.corpus import Corpus

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


@pytest.mark.parametrize(
    ("max_held_out", "val_begin", "test_begin"), [(1000, 800, 900), (100, 800, 900), (60, 880, 940), (1, 998, 999)]
)
def test_held_out_parts_have_a_cap_and_are_the_end_of_the_text(
    max_held_out: int, val_begin: int, test_begin: int
) -> None:
    for added in ([], ["xyz"]):
        options = OPTIONS | {"max_held_out": max_held_out, "added": added}
        split = build_corpus("a" * 1000, cleaning="lines", level="char", **options).split
        cuts = [3 * len(added) + cut for cut in (val_begin, test_begin, 1000)]
        assert split == {"train": (0, cuts[0]), "val": (cuts[0], cuts[1]), "test": (cuts[1], cuts[2])}


def test_a_cap_keeps_the_share_of_the_part_that_is_below_it() -> None:
    options = OPTIONS | {"fractions": (0.5, 0.1, 0.4), "max_held_out": 200}
    split = build_corpus("a" * 1000, cleaning="lines", level="char", **options).split
    assert split == {"train": (0, 700), "val": (700, 800), "test": (800, 1000)}


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


@pytest.fixture
def pieces(tmp_path: Path) -> list[Piece]:
    """Shards with different line ends, a byte order mark and a letter with an accent."""
    contents = ["\ufeffOne, two", "three\r\nfour \N{LATIN SMALL LETTER E WITH ACUTE}t\r\n", "..Five\nsix."]
    for i, content in enumerate(contents):
        (tmp_path / f"{i}.txt").write_bytes(content.encode())
    return accepted_pieces(tmp_path)


@pytest.mark.parametrize(
    ("level", "cleaning", "expected"),
    [
        ("char", "lines", ["one two", "threefour t", "fivesix"]),
        ("char", "whole", ["one two ", "three four t ", " five six "]),
        ("word", "lines", ["one two", "three four t", "five six"]),
    ],
)
def test_each_piece_is_cleaned_on_its_own_and_its_first_index_is_known(
    level: str, cleaning: str, expected: list[str], pieces: list[Piece], tmp_path: Path
) -> None:
    options = OPTIONS | {"fractions": (0.4, 0.3, 0.3)}
    build_corpus(pieces[1:], added=pieces[:1], folder=tmp_path, cleaning=cleaning, level=level, **options)
    corpus = Corpus.load(tmp_path)
    ends = [*corpus.pieces[1:], len(corpus.tokens)]
    spans = zip(corpus.pieces, ends, strict=True)
    assert [corpus.tokenizer.decode(corpus.tokens[begin:end]) for begin, end in spans] == expected
    assert corpus.num_added == ends[0]


def test_a_corpus_that_is_written_while_it_is_built_is_the_one_in_memory(
    pieces: list[Piece], tmp_path: Path
) -> None:
    for level in ("char", "word"):
        options = {**OPTIONS, "cleaning": "whole", "level": level, "min_freq": 2, "reserved_tokens": ["<pad>"]}
        build_corpus(pieces, **options, folder=tmp_path / "written")
        build_corpus(pieces, **options).save(tmp_path / "saved")
        for name in ("tokens.npy", "vocabulary.json", "split.json"):
            assert (tmp_path / "written" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
        assert len(list((tmp_path / "written").iterdir())) == 3


def test_tokens_that_are_read_are_a_read_only_map_and_have_the_same_hash(folder: Path) -> None:
    loaded, built = Corpus.load(folder), build_corpus(tiny_text(), cleaning="lines", level="char", **OPTIONS)
    assert not loaded.tokens.flags.writeable
    assert (
        loaded.sha256 == built.sha256 != build_corpus("a b" * 99, cleaning="lines", level="char", **OPTIONS).sha256
    )


def test_the_hash_of_the_book_is_the_one_in_checkpoints(book: str) -> None:
    options = OPTIONS | {"order": "sorted"}
    corpus = build_corpus(book, cleaning="whole", level="char", **options)
    assert corpus.sha256 == "6145eac42f7c7bce79cbbb7b09c65ba18156a9a8c2b247d79e361539f6691e00"


def test_the_report_has_the_size_and_hash_of_each_text(pieces: list[Piece]) -> None:
    corpus = build_corpus(pieces, cleaning="lines", level="word", **OPTIONS)
    summary = summarise({"one": pieces[:1], "shards": pieces}, pieces[1:2], {"words": corpus})
    hashes = [hashlib.sha256(piece.path.read_bytes()).hexdigest() for piece in pieces]
    listed = "".join(f"{sha}  {i}.txt\n" for i, sha in enumerate(hashes))
    assert summary["texts"]["one"] == {"num_lines": 1, "num_bytes": 11, "sha256": hashes[0], "shards": 1}
    assert summary["texts"]["shards"]["sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert (summary["texts"]["shards"]["num_lines"], summary["texts"]["shards"]["shards"]) == (5, 3)
    assert summary["added"] == {"1.txt": hashes[1]}
    assert summary["corpora"] == {"words": {"tokens": 7, "vocab_size": 8}}


@pytest.mark.parametrize("num_bytes", [1000, 3000])  # less than the numbers, and than the tokens, need
def test_a_full_disk_leaves_the_corpus_as_it_was(num_bytes: int, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as error:
            build_corpus("ab" * 1450, cleaning="lines", level="char", **OPTIONS, folder=folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{folder} was not written and is unchanged" in error.value.__notes__
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
