"""The experts of a context mixture: which counts each predicts from, and the selectors of the mixer."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.chains import interpolate, predict_by_cache
from timemachine.language.ngrams.compiled import compiled
from timemachine.language.ngrams.contexts import LETTERS, History, place_in_word
from timemachine.language.ngrams.state_maps import StateMaps, new_state_maps, predict_by_states
from timemachine.language.ngrams.tables import CONTINUED, PLAIN, Table, Tables


class Layout(NamedTuple):
    """What a context mixture is made of.

    Attributes:
        chains: by name, nested contexts, and how many of the last ones are experts.
        caches: context and window of each cache. A cache interpolates with the last expert of the chain `words`.
        maps: contexts of the state maps.
    """

    chains: Mapping[str, tuple[Sequence[str], int]]
    caches: Sequence[tuple[str, int]] = ()
    maps: Sequence[str] = ()


WORDS, SKIPS = ("o0", "o1", "current", "word_1", "word_2"), ("o0", "o1", "current", "skip_1", "skip_2")
CHAINS = {
    "letters": (LETTERS, 8),
    "words": (WORDS, 3),
    "skipped words": (SKIPS, 1),
    "following word": (("o0", "o1", "current", "follower"), 1),
    "word classes": (("o0", "o1", "current", "class_1", "class_2", "class_3"), 1),
    "place and word": (("o0", "place", "place_word"), 1),
    "letter and word": (("o0", "o1", "place_letter", "word_letter"), 1),
}
CACHES = ("current", "o5")
STATE_MAPS = ("current", "word_1", "word_2", "first", "kinds", "class_2_3", "place_word_letter", "skip_1")

SELECTORS = (
    "none",
    "matched letters",
    "place in the word",
    "last letter",
    "matched words and place",
    "matched skips",
)
_MOST_PLACES = 10  # in a word, that selectors tell apart


class Experts(NamedTuple):
    """Where the experts find their counts, and what the state maps have learnt.

    Attributes:
        continued: (num_chains, longest) tables of the continuation counts of the levels, -1 for none.
        plain: (num_chains, longest) tables of all counts of the levels that are experts, -1 for none.
        caches: (num_caches,) tables with a window.
        cached: the expert that caches interpolate with.
        maps: the state maps.
        matched: (3, longest) tables of the contexts of the chains whose matches choose weights, -1 after the last.
        P: (num_experts + 1, vocab_size) the last predictions, and room for a lower level.
    """

    continued: NDArray[np.int64]
    plain: NDArray[np.int64]
    caches: NDArray[np.int64]
    cached: int
    maps: StateMaps
    matched: NDArray[np.int64]
    P: NDArray[np.float64]


def expert_names(layout: Layout) -> list[str]:
    """Return the names of the experts in their order, each with its kind before a colon."""
    chained = [
        f"{chain}: {context}" for chain, (levels, num) in layout.chains.items() for context in levels[-num:]
    ]
    caches = [f"cache: {context}" for context, _ in layout.caches]
    return [*chained, *caches, *(f"states: {context}" for context in layout.maps)]


def new_experts(layout: Layout, vocab_size: int) -> tuple[Experts, list[Table]]:
    """Return the experts before the first token, and the tables that they need."""
    longest = max(len(levels) for levels, _ in layout.chains.values())
    above = {(levels[k], levels[k + 1]) for levels, _ in layout.chains.values() for k in range(len(levels) - 1)}
    tops = {levels[-1] for levels, _ in layout.chains.values()} | {*layout.maps}
    lone = tops - {context for context, _ in above}
    tables = [*(Table(*pair) for pair in sorted(above)), *map(Table, sorted(lone))]
    tables += [Table(context, window=window) for context, window in layout.caches]
    contexts = [table.context for table in tables]
    names = expert_names(layout)

    def rows(chains: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        return np.array([[*row, *[-1] * (longest - len(row))] for row in chains])

    continued = [[tables.index(Table(*pair)) for pair in pairwise(levels)] for levels, _ in layout.chains.values()]
    plain = [
        [-1] * (len(levels) - num) + [contexts.index(context) for context in levels[-num:]]
        for levels, num in layout.chains.values()
    ]
    matched = [
        [contexts.index(context) for context in chain[1:] if context in contexts]
        for chain in (LETTERS, WORDS, SKIPS)
    ]
    maps = np.array([contexts.index(context) for context in layout.maps], dtype=np.int64)
    experts = Experts(
        continued=rows(continued),
        plain=rows(plain),
        caches=np.array([tables.index(Table(c, window=w)) for c, w in layout.caches], dtype=np.int64),
        cached=names.index("words: word_2") if layout.caches else -1,
        maps=new_state_maps(maps, vocab_size),
        matched=rows(matched),
        P=np.zeros((len(names) + 1, vocab_size)),
    )
    return experts, tables


def num_values(vocab_size: int) -> int:
    """Return the largest number of values of a selector."""
    return max(len(LETTERS), vocab_size + 1, len(WORDS) * _MOST_PLACES)


@compiled
def predict(experts: Experts, tables: Tables, position: int, log_P: NDArray[np.float64]) -> None:
    """Set the first rows of log_P (num_rows, vocab_size) to the predictions after the present contexts."""
    plain, continued, caches, maps, P = experts.plain, experts.continued, experts.caches, experts.maps, experts.P
    k, lower, vocab_size = 0, len(P) - 1, P.shape[1]
    for i in range(len(plain)):
        for v in range(vocab_size):
            P[lower, v] = 1 / vocab_size
        for level in range(plain.shape[1]):
            if plain[i, level] >= 0:
                for v in range(vocab_size):
                    P[k, v] = P[lower, v]
                interpolate(tables, plain[i, level], PLAIN, P, k)
                k += 1
            if continued[i, level] >= 0:
                interpolate(tables, continued[i, level], CONTINUED, P, lower)
    for i in range(len(caches)):
        predict_by_cache(tables, caches[i], P, experts.cached, k)
        k += 1
    for i in range(len(maps.tables)):
        predict_by_states(maps, i, tables, position, P, k)
        k += 1
    for i in range(k):
        for v in range(vocab_size):
            log_P[i, v] = log(P[i, v])


@compiled
def choose(experts: Experts, tables: Tables, history: History, chosen: NDArray[np.int64]) -> None:
    """Set the values of `SELECTORS`, (num_selectors,)."""
    matched, place = experts.matched, min(place_in_word(history), _MOST_PLACES - 1)
    chosen[0] = 0
    chosen[1] = _num_matched(matched, 0, tables)
    chosen[2] = place
    chosen[3] = history.letters[0]
    chosen[4] = _num_matched(matched, 1, tables) * _MOST_PLACES + place
    chosen[5] = _num_matched(matched, 2, tables)


@compiled
def _num_matched(matched: NDArray[np.int64], chain: int, tables: Tables) -> int:
    n, totals = 0, tables.totals
    for i in range(matched.shape[1]):
        n += matched[chain, i] >= 0 and totals[matched[chain, i], PLAIN] > 0
    return n
