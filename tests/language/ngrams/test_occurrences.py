import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.ngrams import occurrences, report
from timemachine.language.ngrams.occurrences import Occurrences


def by_hand(text: list[int], sequence: list[int], i: int, order: int, epsilon: tuple[float, ...]) -> float:
    """The equations of the book, with the n-grams of the text as a list."""
    n = min(order, i + 1)
    grams = [tuple(text[j : j + n]) for j in range(len(text) - n + 1)]
    gram = tuple(sequence[i - n + 1 : i + 1])
    lower = 1 / len(set(text)) if n == 1 else by_hand(text, sequence[i:], 0, 1, epsilon)
    context = sum(g[:-1] == gram[:-1] for g in grams) + epsilon[n - 1]
    return (grams.count(gram) + epsilon[n - 1] * lower) / context if context else 0


texts = st.lists(st.integers(0, 3), min_size=1, max_size=30)


@given(texts, texts, st.integers(1, 3), st.sampled_from([(0.0, 0.0, 0.0), (1.0, 0.5, 2.0)]), st.integers(1, 40))
def test_probabilities_are_those_of_the_equations_whatever_the_block(
    text: list[int], sequence: list[int], order: int, epsilon: tuple[float, ...], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occurrences, "_BLOCK", block)
        counted = Occurrences(np.array(text, dtype=np.uint8), 4, [np.array(sequence)])
    nats = counted.log_probabilities(np.array(sequence), order, epsilon)
    expected = [by_hand(text, sequence, i, order, epsilon) for i in range(len(sequence))]
    assert np.exp(nats) == pytest.approx(np.array(expected))


def test_transitions_and_their_nats_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.random.default_rng(0).integers(0, 3, 100).astype(np.uint8)
    P = report.transition_matrix(tokens, 3, 2)
    nats = report.mean_nats(P, tokens, 2)
    monkeypatch.setattr(report, "_BLOCK", 7)
    assert (report.transition_matrix(tokens, 3, 2) == P).all()
    assert report.mean_nats(P, tokens, 2) == pytest.approx(nats)
