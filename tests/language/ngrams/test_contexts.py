import re
from collections.abc import Hashable
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from timemachine.language.ngrams.context_mixing import ContextMixing
from timemachine.language.ngrams.contexts import CONTEXTS, new_history
from timemachine.language.ngrams.experts import Layout

VOCABULARY = ["a", "b", " ", "y", "<unk>"]


def spelt(word: str, most: int) -> str:
    """The class of a word: itself if it has at most so many letters, else its ending of one letter less."""
    return word if len(word) <= most else "-" + word[1 - most :]


def described(text: str) -> list[Hashable]:
    """What each context stands for, after a text in which a space separates words and ^ stands before it."""
    last = ("^" * 8 + text)[::-1]
    *before, current = text.split(" ")
    before = ["", "", "", *before]
    w1, w2, w3 = before[:-4:-1]
    c1, c2, c3 = (spelt(w, 3) for w in (w1, w2, w3))
    old_2, old_3 = (spelt(w, 4) for w in (w2, w3))
    follower = dict(pairwise(before)).get(w1, "")
    n, kinds = len(current), re.sub("b", "c", last[2:4])
    letters = [last[:k] for k in range(9)]
    words = [current, (current, w1), (current, w1, w2), (current, w2), (current, w2, w3), (current, follower)]
    classes = [(current, c1), (current, c1, c2), (current, c1, c2, c3), (current, old_2, old_3)]
    places = [n, (w1, n), (last[0], n), (w1, last[0]), (w1, last[0], n)]
    return [*letters, *words, *classes, *places, (current[:1], min(n, 8), last[:2]), (last[:2], kinds)]


@given(st.text("aby ", min_size=1, max_size=120))
def test_contexts_are_equal_where_what_they_stand_for_is_equal(text: str) -> None:
    model = ContextMixing(VOCABULARY, Layout({"letters": (("o0",), 1)}), 0.0)
    hashes, descriptions = [], []
    for t, token in enumerate(text):
        model.count(np.array([VOCABULARY.index(token)]))
        hashes.append(model._state.contexts.tolist())
        descriptions.append(described(text[:t]))
    for i, name in enumerate(CONTEXTS):
        pairs = [(found[i], wanted[i]) for found, wanted in zip(hashes, descriptions, strict=True)]
        assert len({found for found, _ in pairs}) == len({wanted for _, wanted in pairs}) == len({*pairs}), name


def test_tokens_are_vowels_others_or_separators() -> None:
    tokens = ["a", "É", "ö", "y", "b", "ß", "7", "д", " ", "'", "\n", "<unk>", ""]
    assert new_history(tokens).kinds.tolist() == [1, 1, 1, 2, 3, 3, 3, 3, 0, 0, 0, 0, 0, 4]
