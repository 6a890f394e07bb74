import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.ngrams.smoothing import SmoothedNgrams

TOKENS = np.array([0, 1, 2, 0, 1, 0, 2, 1, 0, 1])
ML = SmoothedNgrams(TOKENS, 3, 3, (0, 0, 0))


def test_maximum_likelihood_is_a_ratio_of_counts() -> None:
    assert ML.probabilities(np.array([[0]])) == pytest.approx(4 / 10)
    assert ML.probabilities(np.array([[0, 1]])) == pytest.approx(3 / 4)
    assert ML.probabilities(np.array([[0, 1, 2]])) == pytest.approx(1 / 2)


def test_smoothing_follows_the_equations() -> None:
    e1, e2, e3 = 2.0, 3.0, 5.0
    model = SmoothedNgrams(TOKENS, 3, 3, (e1, e2, e3))
    p = (4 + e1 / 3) / (10 + e1)
    assert model.probabilities(np.array([[1]])) == pytest.approx(p)
    assert model.probabilities(np.array([[0, 1]])) == pytest.approx((3 + e2 * p) / (4 + e2))
    assert model.probabilities(np.array([[2, 0, 1]])) == pytest.approx((1 + e3 * p) / (1 + e3))


@given(st.lists(st.integers(0, 3), min_size=4, max_size=50), st.tuples(*[st.floats(0.1, 100)] * 3))
def test_smoothed_distributions_sum_to_1_after_every_context(
    tokens: list[int], epsilon: tuple[float, ...]
) -> None:
    model = SmoothedNgrams(np.array(tokens), 4, 4, epsilon)
    for n in (1, 2, 3):
        ngrams = np.array(list(itertools.product(range(4), repeat=n)))
        sums = model.probabilities(ngrams).reshape(-1, 4).sum(1)
        assert sums == pytest.approx(np.ones(len(sums)))


def test_large_epsilon_is_the_uniform_distribution() -> None:
    model = SmoothedNgrams(TOKENS, 3, 3, (1e12, 1e12, 1e12))
    assert model.probabilities(np.array([[2, 2, 1]])) == pytest.approx(1 / 3)


def test_sequences_follow_the_chain_rule_and_unseen_ones_have_probability_0() -> None:
    sequence = np.array([2, 0, 1])
    assert ML.log_probabilities(sequence, 1).sum() == pytest.approx(math.log(2 / 10 * 4 / 10 * 4 / 10))
    assert ML.log_probabilities(sequence, 2).sum() == pytest.approx(math.log(2 / 10 * 1 / 2 * 3 / 4))
    assert ML.log_probabilities(sequence, 3).sum() == pytest.approx(math.log(2 / 10 * 1 / 2 * 1))
    assert ML.log_probabilities(np.array([2, 2]), 2).sum() == -math.inf
    assert len(ML.log_probabilities(np.array([], dtype=int), 3)) == 0
