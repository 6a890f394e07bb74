import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays, write_arrays
from timemachine.language.ngrams.config import NgramsParams
from timemachine.language.ngrams.counts import count_ngrams
from timemachine.language.ngrams.engines import Rows, choose_engine, count_in_blocks
from timemachine.language.ngrams.partial import TokenFile, cut


def params(engine: str = "duckdb", **other: Any) -> NgramsParams:
    content = {"corpus": "words", "sequences": ["a"], "markov_corpus": "lines", "engine": engine}
    return NgramsParams.model_validate(content | other)


def joined(blocks: Iterable[Rows]) -> tuple[list[list[int]], list[int]]:
    ngrams, counts = zip(*blocks, strict=True)
    return np.concatenate(ngrams).tolist(), np.concatenate(counts).tolist()


def in_memory(tokens: np.ndarray, n: int, vocab_size: int) -> tuple[list[list[int]], list[int]]:
    ngrams, counts = count_ngrams(tokens, n, vocab_size)
    return ngrams.tolist(), counts.tolist()


pieces_of_tokens = st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=6).filter(
    lambda pieces: sum(map(len, pieces)) >= 3
)


@settings(max_examples=10, deadline=None)
@given(pieces_of_tokens, st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))
def test_spans_of_any_length_and_pieces_shorter_than_n_give_the_counts_of_the_whole(
    pieces: list[list[int]], n: int, length: int, short: int
) -> None:
    tokens = np.array([token for piece in pieces for token in piece], dtype=np.uint8)
    starts = np.cumsum([0, *map(len, pieces)])[:-1].tolist()
    with tempfile.TemporaryDirectory() as folder:
        counted = count_in_blocks(tokens, starts, n, 4, params(), Path(folder), length, short)
        assert joined(counted) == in_memory(tokens, n, 4)


def test_a_mapped_corpus_is_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.arange(100, dtype=np.uint16))
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    for tokens in (mapped, np.asarray(mapped)):
        source = TokenFile.of(tokens, tmp_path)
        assert source.path == str(tmp_path / "tokens.npy")
        assert source.read(7, 10).tolist() == [7, 8, 9]
    assert TokenFile.of(mapped[50:], tmp_path).read(0, 2).tolist() == [50, 51]


def test_a_text_that_becomes_shorter_while_it_is_read_is_named(tmp_path: Path) -> None:
    source = TokenFile.of(np.arange(100, dtype=np.uint16), tmp_path)
    os.truncate(source.path, 50)
    with pytest.raises(UserError, match="tokens: changed while it was read"):
        source.read(0, 100)


def test_a_new_shard_is_counted_alone_although_it_changes_the_vocabulary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 40), rng.integers(0, 5, 40)
    kept = tmp_path / "counts"
    old = np.concatenate([first, second]).astype(np.uint8)
    list(count_in_blocks(old, [0, 40], 2, 5, params(), tmp_path, short=10))
    written = {path: path.stat().st_ino for path in kept.iterdir()}
    assert len(written) == 2
    # The new shard has the indices 0 … 2, so that those of the other words move.
    new = np.concatenate([first + 3, rng.integers(0, 3, 30), second + 3]).astype(np.uint8)
    counted = count_in_blocks(new, [0, 40, 70], 2, 8, params(), tmp_path, short=10)
    assert joined(counted) == in_memory(new, 2, 8)
    after = {path: path.stat().st_ino for path in kept.iterdir()}
    assert len(after) == 3
    assert written.items() <= after.items()


def test_a_damaged_partial_count_is_counted_again(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 5, 40).astype(np.uint8)
    list(count_in_blocks(tokens, [0], 2, 5, params(), tmp_path))
    (kept,) = (tmp_path / "counts").iterdir()
    whole = read_arrays(kept)
    os.truncate(kept, 30)
    assert joined(count_in_blocks(tokens, [0], 2, 5, params(), tmp_path)) == in_memory(tokens, 2, 5)
    for damaged in (
        {"counts": whole["counts"][:-1]},
        {"counts": whole["counts"] + np.uint32(1)},
        {"first": whole["first"] + np.uint32(99)},
    ):
        write_arrays(kept, whole | damaged)
        assert joined(count_in_blocks(tokens, [0], 2, 5, params(), tmp_path)) == in_memory(tokens, 2, 5)


def test_a_folder_may_have_the_signs_of_a_pattern_in_its_name(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 5, 40).astype(np.uint8)
    counted = count_in_blocks(tokens, [0], 2, 5, params(), tmp_path / "shelf [1]*")
    assert joined(counted) == in_memory(tokens, 2, 5)


def test_partial_counts_of_an_earlier_text_are_removed(tmp_path: Path) -> None:
    old, new = (np.random.default_rng(seed).integers(0, 5, 40).astype(np.uint8) for seed in (0, 1))
    list(count_in_blocks(old, [0], 2, 5, params(), tmp_path))
    before = set((tmp_path / "counts").iterdir())
    list(count_in_blocks(new, [0], 2, 5, params(), tmp_path))
    assert before.isdisjoint((tmp_path / "counts").iterdir())
    assert len(list((tmp_path / "counts").iterdir())) == 1


def test_short_pieces_are_joined_and_a_long_one_stands_alone() -> None:
    assert cut([0, 2, 4, 6, 106], 108, length=60, short=5) == [
        (0, 6, 6),
        (6, 66, 106),
        (66, 106, 106),
        (106, 108, 108),
    ]


def test_memory_is_chosen_where_the_counts_fit_it() -> None:
    assert choose_engine(params("auto", max_memory=0.5), 1_000_000) == "memory"
    assert choose_engine(params("auto", max_memory=0.5), 100_000_000) == "duckdb"
    assert choose_engine(params("auto", max_memory=1000), 2**31) == "duckdb"
    assert choose_engine(params("ray"), 10) == "ray"


def test_nothing_but_partial_counts_stays_when_the_reader_stops(tmp_path: Path) -> None:
    tokens = np.arange(100, dtype=np.uint8)
    with closing(count_in_blocks(tokens, [0], 1, 100, params(), tmp_path)) as rows:
        next(rows)
        assert (tmp_path / "spill").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]


def test_what_a_killed_process_has_spilled_is_removed(tmp_path: Path) -> None:
    for pid in (999_999_999, os.getpid()):  # a container often gives the same numbers again
        (tmp_path / "spill" / f"{pid}-old").mkdir(parents=True)
    list(count_in_blocks(np.arange(5, dtype=np.uint8), [0], 1, 5, params(), tmp_path))
    assert not (tmp_path / "spill").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 15 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=15m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_the_next_run_goes_on_with_what_is_counted(small_disk: Path) -> None:
    tokens = np.random.default_rng(0).permutation(1_000_000).astype(np.uint32)
    with pytest.raises(
        UserError, match=rf"^{small_disk}/spill: no room on the disk for the counts of 3-grams: \d"
    ):
        list(count_in_blocks(tokens, [0], 3, 1_000_000, params(), small_disk))
    assert [path.name for path in small_disk.iterdir()] == ["counts"]
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    (kept,) = (small_disk / "counts").iterdir()
    before = kept.stat().st_ino
    assert (
        sum(len(counts) for _, counts in count_in_blocks(tokens, [0], 3, 1_000_000, params(), small_disk))
        == 999_998
    )
    assert kept.stat().st_ino == before
