import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.ngrams import kneser_ney
from timemachine.language.ngrams.chain import log_probabilities, log_probabilities_by_order
from timemachine.language.ngrams.kneser_ney import KneserNey

Ngram = tuple[int, ...]
texts = st.lists(st.integers(0, 3), min_size=1, max_size=60)


class Oracle:
    """Chen and Goodman's equations, one n-gram at a time."""

    def __init__(self, tokens: list[int], vocab_size: int, order: int) -> None:
        self.vocab_size = vocab_size
        self.counts: list[dict[Ngram, int]] = []
        for k in range(1, order + 1):
            if k == order:
                ngrams = [tuple(tokens[i : i + k]) for i in range(len(tokens) - k + 1)]
            else:
                begun: list[int | str] = ["begin", *tokens]
                ngrams = [g[1:] for g in {tuple(begun[i : i + k + 1]) for i in range(len(begun) - k)}]
            self.counts.append(Counter(ngrams))
        self.discounts = [self.discount(counts) for counts in self.counts]

    @staticmethod
    def discount(counts: dict[Ngram, int]) -> list[float]:
        n = [sum(c == i for c in counts.values()) for i in range(5)]
        if 0 in n[1:]:
            return [0.0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        d = [0.0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))]
        return d if min(d[1:]) > 0 else [0.0, 0.5, 1.0, 1.5]

    def probability(self, token: int, context: Ngram) -> float:
        k = len(context)
        lower = self.probability(token, context[1:]) if context else 1 / self.vocab_size
        counts, d = self.counts[k], self.discounts[k]
        followers = {g: c for g, c in counts.items() if g[:-1] == context}
        total = sum(followers.values())
        if not total:
            return lower
        c = counts.get((*context, token), 0)
        freed = sum(d[min(f, 3)] for f in followers.values())
        return (c - d[min(c, 3)]) / total + freed / total * lower


def probabilities(model: KneserNey, tokens: np.ndarray, order: int) -> np.ndarray:
    """Return P of each of the tokens (…, length) after the first order − 1."""
    *_, P = model.probabilities_by_order(model.trie.ids(tokens, order))
    return P


def all_ngrams(vocab_size: int, n: int) -> np.ndarray:
    return np.array(list(itertools.product(range(vocab_size), repeat=n)))


# Long enough, and uneven enough, for counts of counts of which none is 0 and no estimate is negative.
UNEVEN = np.minimum(np.random.default_rng(1).geometric(0.22, 500) - 1, 19)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_order_is_that_of_the_equations_worked_out_one_by_one(order: int) -> None:
    small = [0, 1, 2, 0, 1, 0, 2, 1, 0, 1, 0, 0, 1, 2]
    oracle, model = Oracle(small, 4, order), KneserNey(np.array(small, dtype=np.uint8), 4, 4)
    ngrams = all_ngrams(4, order)
    expected = [oracle.probability(g[-1], tuple(g[:-1])) for g in ngrams.tolist()]
    assert probabilities(model, ngrams, order)[:, 0] == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_discounts_are_estimated_from_counts_of_counts(order: int) -> None:
    oracle, model = Oracle(UNEVEN.tolist(), 20, order), KneserNey(UNEVEN, 20, 3)
    assert model.discounts(order) == [pytest.approx(d[1:]) for d in oracle.discounts]
    ngrams = np.lib.stride_tricks.sliding_window_view(UNEVEN, order)[:40]
    expected = [oracle.probability(g[-1], tuple(g[:-1])) for g in ngrams.tolist()]
    assert probabilities(model, ngrams, order)[:, 0] == pytest.approx(expected, rel=0, abs=1e-12)


def test_some_levels_have_estimates_and_counts_that_give_none_have_the_fallback() -> None:
    assert KneserNey(UNEVEN, 20, 3).discounts(3)[-1] != (0.5, 1.0, 1.5)
    assert KneserNey(np.zeros(9, dtype=int), 2, 2).discounts(2) == [(0.5, 1.0, 1.5)] * 2


@given(texts, st.integers(1, 5))
def test_distributions_sum_to_1_after_every_context(tokens: list[int], order: int) -> None:
    P = KneserNey(np.array(tokens, dtype=np.uint8), 5, 5).distributions(all_ngrams(5, order - 1))
    assert (P > 0).all()
    assert P.sum(1) == pytest.approx(np.ones(5 ** (order - 1)), abs=1e-12)


@pytest.mark.parametrize("tokens", [[], [2], [1] * 50, [0, 1] * 20], ids=["none", "one", "constant", "two"])
def test_degenerate_texts_have_distributions_too(tokens: list[int]) -> None:
    model = KneserNey(np.array(tokens, dtype=np.uint8), 3, 4)
    for order in (1, 2, 3, 4):
        assert model.distributions(all_ngrams(3, order - 1)).sum(1) == pytest.approx(np.ones(3 ** (order - 1)))


@given(texts, st.integers(1, 4))
def test_a_distribution_holds_the_probability_of_each_next_token(tokens: list[int], order: int) -> None:
    model = KneserNey(np.array(tokens), 4, 4)
    ngrams = all_ngrams(4, order)
    assert (
        model.distributions(all_ngrams(4, order - 1)).ravel().tolist()
        == probabilities(model, ngrams, order)[:, 0].tolist()
    )


def test_a_context_never_seen_leaves_all_to_the_shorter_one() -> None:
    model = KneserNey(np.array([0, 1, 2, 0, 1, 0, 2, 1, 0, 1]), 4, 3)
    after_3_1, after_1_1, after_0_1 = model.distributions(np.array([[3, 1], [1, 1], [0, 1]]))
    assert after_3_1.tolist() == after_1_1.tolist() != after_0_1.tolist()


def test_a_context_that_only_ends_the_text_leaves_all_to_the_shorter_one() -> None:
    after_end, unigram = KneserNey(np.array([0, 1, 0, 1, 2]), 3, 2).distributions(np.array([[2], [0]]))
    # Left neighbours of 0: the beginning and 1; of 1: 0; of 2: 1. A half and a whole are discounted.
    assert after_end == pytest.approx([(2 - 1) / 4 + 2 / 12, (1 - 0.5) / 4 + 2 / 12, (1 - 0.5) / 4 + 2 / 12])
    assert after_end.tolist() != unigram.tolist()


@given(texts, texts, st.integers(1, 4), st.data())
def test_a_sequence_is_scored_token_by_token_in_its_context(
    train: list[int], tokens: list[int], order: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(tokens)))
    model, sequence = KneserNey(np.array(train), 4, 4), np.array(tokens)
    expected = [
        math.log(probabilities(model, sequence[max(t - order + 1, 0) : t + 1], min(t + 1, order))[0])
        for t in range(first, len(tokens))
    ]
    assert log_probabilities(model, sequence, order, first) == pytest.approx(expected)


@given(texts, texts, st.integers(1, 4))
def test_the_orders_of_one_pass_are_those_of_a_pass_each(train: list[int], tokens: list[int], order: int) -> None:
    model, sequence = KneserNey(np.array(train), 4, 4), np.array(tokens)
    at_once = log_probabilities_by_order(model, model.trie.ids(sequence, order), 0)
    assert [log_P.tolist() for log_P in at_once] == [
        log_probabilities(model, sequence, n).tolist() for n in range(1, order + 1)
    ]


def test_distributions_do_not_depend_on_the_blocks_they_are_computed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    model, contexts = KneserNey(UNEVEN, 20, 3), np.lib.stride_tricks.sliding_window_view(UNEVEN, 2)
    at_once = model.distributions(contexts)
    monkeypatch.setattr(kneser_ney, "_BLOCK", 7)
    assert model.distributions(contexts).tobytes() == at_once.tobytes()


@pytest.mark.parametrize("order", [0, 4])
def test_an_order_that_was_not_fitted_is_an_error(order: int) -> None:
    with pytest.raises(ValueError, match=f"order {order} is not within 1 to 3"):
        log_probabilities(KneserNey(np.array([0, 1]), 2, 3), np.array([0, 1, 1, 0, 1]), order)
