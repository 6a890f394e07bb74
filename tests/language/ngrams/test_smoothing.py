import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.ngrams.chain import log_probabilities
from timemachine.language.ngrams.smoothing import SmoothedNgrams, fit_epsilon
from timemachine.language.ngrams.trie import Trie


def probabilities(model: SmoothedNgrams, tokens: np.ndarray, order: int) -> np.ndarray:
    """Return P of each of the tokens after the first order − 1."""
    *_, P = model.probabilities_by_order(model.trie.ids(tokens, order))
    return P


TOKENS = np.array([0, 1, 2, 0, 1, 0, 2, 1, 0, 1])
ML = SmoothedNgrams(Trie.count(TOKENS, 3, 3), (0, 0, 0))


def test_maximum_likelihood_is_a_ratio_of_counts() -> None:
    assert probabilities(ML, np.array([0]), 1) == pytest.approx(4 / 10)
    assert probabilities(ML, np.array([0, 1]), 2) == pytest.approx(3 / 4)
    assert probabilities(ML, np.array([0, 1, 2]), 3) == pytest.approx(1 / 2)


def test_smoothing_follows_the_equations() -> None:
    e1, e2, e3 = 2.0, 3.0, 5.0
    model = SmoothedNgrams(Trie.count(TOKENS, 3, 3), (e1, e2, e3))
    p = (4 + e1 / 3) / (10 + e1)
    assert probabilities(model, np.array([1]), 1) == pytest.approx(p)
    assert probabilities(model, np.array([0, 1]), 2) == pytest.approx((3 + e2 * p) / (4 + e2))
    assert probabilities(model, np.array([2, 0, 1]), 3) == pytest.approx((1 + e3 * p) / (1 + e3))


@given(st.lists(st.integers(0, 3), min_size=4, max_size=50), st.tuples(*[st.floats(0.1, 100)] * 3))
def test_smoothed_distributions_sum_to_1_after_every_context(
    tokens: list[int], epsilon: tuple[float, ...]
) -> None:
    model = SmoothedNgrams(Trie.count(np.array(tokens), 4, 3), epsilon)
    for n in (1, 2, 3):
        ngrams = np.array(list(itertools.product(range(4), repeat=n)))
        sums = np.array([probabilities(model, ngram, n)[0] for ngram in ngrams]).reshape(-1, 4).sum(1)
        assert sums == pytest.approx(np.ones(len(sums)))


def test_large_epsilon_is_the_uniform_distribution() -> None:
    model = SmoothedNgrams(Trie.count(TOKENS, 3, 3), (1e12, 1e12, 1e12))
    assert probabilities(model, np.array([2, 2, 1]), 3) == pytest.approx(1 / 3)


def test_sequences_follow_the_chain_rule_and_unseen_ones_have_probability_0() -> None:
    sequence = np.array([2, 0, 1])
    assert log_probabilities(ML, sequence, 1).sum() == pytest.approx(math.log(2 / 10 * 4 / 10 * 4 / 10))
    assert log_probabilities(ML, sequence, 2).sum() == pytest.approx(math.log(2 / 10 * 1 / 2 * 3 / 4))
    assert log_probabilities(ML, sequence, 3).sum() == pytest.approx(math.log(2 / 10 * 1 / 2 * 1))
    assert log_probabilities(ML, np.array([2, 2]), 2).sum() == -math.inf
    assert len(log_probabilities(ML, np.array([], dtype=int), 3)) == 0


def test_what_comes_before_the_first_scored_token_is_its_context() -> None:
    for order in (1, 2, 3):
        whole = log_probabilities(ML, TOKENS, order)
        assert [log_probabilities(ML, TOKENS, order, first).tolist() for first in range(11)] == [
            whole[first:].tolist() for first in range(11)
        ]


def test_the_chosen_epsilon_beat_their_neighbours_on_what_follows_the_training_tokens() -> None:
    tokens = np.minimum(np.random.default_rng(0).geometric(0.3, 600) - 1, 9) + np.tile([0, 5], 300)
    trie = Trie.count(tokens[:500], 20, 3)
    chosen = fit_epsilon(trie, tokens, 500).epsilon
    for n, epsilon in enumerate(chosen, 1):
        others = [[*chosen[: n - 1], factor * epsilon, *chosen[n:]] for factor in (1, 0.9, 1.1, 0.01, 100)]
        models = [SmoothedNgrams(trie, e) for e in others]
        best, *worse = (log_probabilities(model, tokens, n, 500).sum() for model in models)
        assert best > max(worse) - 1e-6  # to four digits


def test_where_training_says_all_epsilon_vanishes_and_where_it_says_nothing_epsilon_is_without_bound() -> None:
    cycle = np.tile([0, 1, 2], 40)
    assert fit_epsilon(Trie.count(cycle[:60], 3, 3), cycle, 60).epsilon[1:] == [1e-6, 1e-6]
    contrary = np.concatenate([np.zeros(50, dtype=int), np.arange(50) % 5])
    assert fit_epsilon(Trie.count(contrary[:50], 5, 3), contrary, 50).epsilon[0] == 1e6
