from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timemachine.language.ngrams.context_mixing import ContextMixing
from timemachine.language.ngrams.contexts import CONTEXTS
from timemachine.language.ngrams.experts import CHAINS, STATE_MAPS, Layout, new_experts
from timemachine.language.ngrams.tables import CONTINUED, PLAIN, PRIOR, estimate_discounts

VOCABULARY = ["<unk>", "a", " ", "b", "y"]
LAYOUT = Layout(CHAINS, [("current", 7), ("o1", 1)], STATE_MAPS)
TABLES = new_experts(LAYOUT, len(VOCABULARY))[1]
# By table, the first position that has a context: one of k letters exists from position k on.
FIRST = [int(table.context[1:]) if table.context[1:].isdigit() else 0 for table in TABLES]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_counts_are_those_of_a_loop_over_all_positions_before(text: list[int]) -> None:
    model, keys = ContextMixing(VOCABULARY, LAYOUT, 0.0), []
    for t, token in enumerate(text):
        model.count(np.array([token]))
        found = model._state.tables
        keys.append(dict(zip(CONTEXTS, model._state.contexts.tolist(), strict=True)))
        for i, (table, first) in enumerate(zip(TABLES, FIRST, strict=True)):
            begin = max(first, t - table.window if table.window else 0)
            places = [p for p in range(begin, t) if keys[p][table.context] == keys[t][table.context]]
            counts = Counter(text[p] for p in places)
            assert found.counts[i, PLAIN].tolist() == [counts[v] for v in range(len(VOCABULARY))]
            assert found.totals[i, PLAIN] == len(places)
            assert {text[p]: p for p in places} == {v: found.lasts[i, v] for v in counts}
            if table.above:
                before = [(keys[p][table.above], text[p]) for p in range(t)]
                continued = Counter(text[p] for p in places if before.index(before[p]) == p)
                assert found.counts[i, CONTINUED].tolist() == [continued[v] for v in range(len(VOCABULARY))]
                assert found.totals[i, CONTINUED] == sum(continued.values())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_discounts_follow_from_how_many_counts_are_1_2_3_and_4(text: list[int]) -> None:
    model = ContextMixing(VOCABULARY, Layout({"letters": (("o0", "o1"), 1)}), 0.0)
    model.count(np.array(text))
    counts = Counter(pairwise(text))
    left = Counter(v for _, v in {("begin", text[0]), *counts})
    # Tables are in the order of their contexts: first o0 with continuation counts, then o1.
    for table, column, of in ((0, CONTINUED, left), (1, PLAIN, counts)):
        n = np.bincount([*of.values()], minlength=5)[1:5] + PRIOR
        assert model._state.tables.counts_of_counts[table, column].tolist() == n.tolist()
        assert model._state.tables.discounts[table, column].tolist() == pytest.approx(estimate_discounts(*n))


def test_discounts_are_those_of_the_equations_within_bounds() -> None:
    assert estimate_discounts(100, 50, 30, 20) == pytest.approx((0.5, 2 - 3 * 0.5 * 0.6, 3 - 4 * 0.5 * 2 / 3))
    assert estimate_discounts(1, 1000, 1000, 1000) == (0.05, 1.9, 2.8)
    assert estimate_discounts(1000, 1, 1000, 1000) == (0.98, 0.1, 0.1)
