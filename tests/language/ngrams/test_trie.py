from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.base.errors import UserError
from timemachine.language.ngrams import hashing, trie
from timemachine.language.ngrams.trie import Trie

texts = st.lists(st.integers(0, 3), max_size=60)
LONG = np.minimum(np.random.default_rng(1).geometric(0.02, 40_000) - 1, 299).astype(np.uint16)


def ngrams_of(found: Trie) -> list[list[tuple[int, ...]]]:
    """Return the k-grams by k, then by id."""
    by_k: list[list[tuple[int, ...]]] = [[()]]
    for level in found.levels:
        contexts = level.contexts().tolist()
        by_k.append([(*by_k[-1][h], x) for h, x in zip(contexts, level.last.tolist(), strict=True)])
    return by_k


def assert_right(found: Trie, tokens: list[int], max_order: int) -> None:
    by_k = ngrams_of(found)
    assert len(by_k) == max_order + 1
    for k, level in enumerate(found.levels, 1):
        in_order = [tuple(tokens[i : i + k]) for i in range(len(tokens) - k + 1)]
        expected = Counter(in_order)
        assert by_k[k] == sorted(expected)
        assert level.counts.tolist() == [*(expected[g] for g in by_k[k]), 0]
        assert [by_k[k - 1][i] for i in level.suffix.tolist()] == [g[1:] for g in by_k[k]]
        assert [by_k[k][i] for i in level.ends.tolist()] == [*in_order[:1], *in_order[-1:]]


@given(texts, st.integers(1, 5))
def test_k_grams_have_the_counts_of_a_dictionary_and_lexicographic_ids(tokens: list[int], max_order: int) -> None:
    assert_right(Trie.count(np.array(tokens, dtype=np.uint8), 4, max_order), tokens, max_order)


@given(texts, st.integers(1, 5))
def test_the_reversed_trie_is_that_of_the_reversed_text(tokens: list[int], max_order: int) -> None:
    assert_right(Trie.count(np.array(tokens, dtype=np.uint8), 4, max_order).reversed(), tokens[::-1], max_order)


def test_a_long_text_is_counted_in_blocks_by_a_table_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_MOST_DIRECT", 2**10)
    monkeypatch.setattr(hashing, "_LEAST_BITS", 4)
    monkeypatch.setattr(trie, "_BLOCK", 2**12)
    found = Trie.count(LONG, 300, 3)
    assert_right(found, LONG.tolist(), 3)
    assert_right(found.reversed(), LONG[::-1].tolist(), 3)


def test_k_grams_of_other_texts_are_found_and_unseen_ones_have_the_id_minus_1() -> None:
    found = Trie.count(LONG[:20_000], 300, 3)
    places = [{g: i for i, g in enumerate(ngrams)} for ngrams in ngrams_of(found)]
    other = LONG[20_000:22_000]
    for k, ids in enumerate(found.ids(other, 3)):
        assert ids.tolist() == [places[k].get(tuple(other[i : i + k].tolist()), -1) for i in range(2001 - k)]
    assert (found.ids(other, 3)[3] < 0).any()
    rows = np.stack([other[:-2], other[1:-1], other[2:]], axis=1)
    assert found.ids(rows, 3)[3][:, 0].tolist() == found.ids(other, 3)[3].tolist()


def test_keys_need_no_power_of_the_vocabulary() -> None:
    tokens = np.array([0, 2**31 - 2, 7, 2**31 - 2, 7], dtype=np.uint32)
    found = Trie.count(tokens, 2**31 - 1, 5)
    assert ngrams_of(found)[4] == [(0, 2**31 - 2, 7, 2**31 - 2), (2**31 - 2, 7, 2**31 - 2, 7)]


def test_a_text_of_too_many_tokens_is_refused_at_once() -> None:
    tokens = np.broadcast_to(np.uint8(0), 2**31)
    with pytest.raises(UserError, match=f"{2**31} tokens are too many to count; at most 2³¹ − 1 are allowed"):
        Trie.count(tokens, 1, 2)


def test_ids_of_a_read_only_map_are_those_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", LONG)
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    levels = zip(Trie.count(mapped, 300, 2).levels, Trie.count(LONG, 300, 2).levels, strict=True)
    assert all(np.array_equal(a, b) for pair in levels for a, b in zip(*pair, strict=True))
