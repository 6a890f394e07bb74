import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.ngrams.engines import Rows
from timemachine.language.ngrams.report import describe_counts, fit_exponent, mean_nats, transition_matrix
from timemachine.text.tokens.vocabulary import Vocabulary


def test_two_steps_sum_over_all_ways_between() -> None:
    tokens = np.array([0, 1, 2, 0, 1, 0, 2, 1, 0, 1])
    P = transition_matrix(tokens, 3)
    by_hand = [[sum(P[a, b] * P[b, c] for b in range(3)) for c in range(3)] for a in range(3)]
    assert transition_matrix(tokens, 3, 2) == pytest.approx(np.array(by_hand))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(1, 9))
def test_rows_are_distributions_after_any_number_of_steps(tokens: list[int], k: int) -> None:
    matrix = transition_matrix(np.array(tokens, dtype=np.uint8), 6, k)
    assert (matrix >= 0).all()
    assert matrix.sum(1) == pytest.approx(np.ones(6))


def test_a_cycle_is_predicted_without_doubt() -> None:
    tokens = np.tile([0, 1, 2], 20)
    assert mean_nats(transition_matrix(tokens, 3, 2), tokens, 2) == 0


def test_a_text_shorter_than_the_step_is_refused() -> None:
    tokens = np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="a text of 4 tokens has no pair 5 apart"):
        mean_nats(transition_matrix(tokens, 2), tokens, 5)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.7])
def test_counts_that_follow_the_law_give_back_its_exponent(alpha: float) -> None:
    counts = 1e9 * np.arange(1, 501) ** -alpha
    assert fit_exponent(counts, 10, 100) == (pytest.approx(alpha, abs=1e-9), (10, 100))


def test_ranks_beyond_the_last_ngram_are_cut_and_said() -> None:
    assert fit_exponent(1e6 / np.arange(1, 51), 1, 1000)[1] == (1, 50)


def test_too_few_ngrams_for_the_ranks_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"zipf_ranks.*5 n-grams"):
        fit_exponent(np.arange(5, 0, -1), 10, 100)


def test_counts_in_blocks_give_one_table_and_one_report(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["<unk>", "a", "b", "c"])
    ngrams, counts = np.array([[1, 2], [2, 1], [2, 2], [3, 1]]), np.array([5, 3, 2, 1])
    blocks = [(ngrams[:1], counts[:1]), (ngrams[1:], counts[1:])]
    content, (ranks, drawn) = describe_counts(blocks, vocabulary, 2, [2, 9], tmp_path / "bigram.csv")
    assert (tmp_path / "bigram.csv").read_text() == "ngram,count\na b,5\nb a,3\nb b,2\nc a,1\n"
    assert (content["total"], content["distinct"], content["zipf_ranks"]) == (11, 4, [2, 4])
    assert content["top"] == [["a b", 5], ["b a", 3]]
    assert (ranks.tolist(), drawn.tolist()) == ([1, 2, 3, 4], [5, 3, 2, 1])


def test_of_many_ranks_a_thousand_for_each_power_of_ten_are_drawn(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["<unk>", "a"])
    blocks = [(np.ones((10_000, 1), dtype=np.int64), np.full(10_000, 50 - i)) for i in range(12)]
    _, (ranks, drawn) = describe_counts(blocks, vocabulary, 1, [1, 10], tmp_path / "unigram.csv")
    assert ranks[:100_000].tolist() == list(range(1, 100_001))
    assert 75 < len(ranks) - 100_000 < 85
    assert (drawn == 50 - (ranks - 1) // 10_000).all()


def test_blocks_that_are_written_do_not_stay_in_memory(tmp_path: Path) -> None:
    vocabulary, alive = Vocabulary(["<unk>", "a"]), list[weakref.ref[object]]()

    def blocks() -> Iterator[Rows]:
        for _ in range(5):
            counts = np.full(10, 3)
            alive.append(weakref.ref(counts))
            yield np.ones((10, 1), dtype=np.int64), counts
            assert sum(block() is not None for block in alive) <= 2  # this one, and the one before it

    assert describe_counts(blocks(), vocabulary, 3, [1, 5], tmp_path / "unigram.csv")[0]["distinct"] == 50
