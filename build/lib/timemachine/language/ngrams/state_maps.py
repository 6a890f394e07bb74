"""State maps: how often a token came next that had been seen as often, and as lately, in its context.

The state of a token after a context is its count there, the age of its last occurrence, and the total of the
context. For each state a map counts its trials, the tokens that were in this state, and its hits, those that came
next. Then P(v) ∝ hits / trials. Source: M. Mahoney, 2005, for bits; here for tokens of any vocabulary.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import compiled
from timemachine.language.ngrams.tables import PLAIN, Tables

# A count, an age and a total belong to the bin of the number of bounds that they reach.
_COUNTS = np.array([1, 2, 3, 4, 8])
_AGES = np.array([100, 500, 2_000, 10_000, 40_000])  # tokens
_TOTALS = np.array([1, 2, 3, 4, 6, 16, 64])
_NUM_COUNTS, _NUM_AGES, _NUM_TOTALS = len(_COUNTS) + 1, len(_AGES) + 1, len(_TOTALS) + 1
# An unseen token has no age, so that its states are the first ones, those of the totals.
_FIRST_HITS, _FIRST_TRIALS = 0.02, 1.0


class StateMaps(NamedTuple):
    """What all maps have learnt.

    Attributes:
        tables: (num_maps,) the table of each map.
        hits: (num_maps, num_states).
        trials: (num_maps, num_states).
        states: (num_maps, vocab_size) the states of all tokens at the last prediction.
    """

    tables: NDArray[np.int64]
    hits: NDArray[np.float64]
    trials: NDArray[np.float64]
    states: NDArray[np.int64]


def new_state_maps(tables: NDArray[np.int64], vocab_size: int) -> StateMaps:
    """Return the maps before the first token, one for each table."""
    shape = len(tables), _NUM_COUNTS * _NUM_AGES * _NUM_TOTALS
    states = np.zeros((len(tables), vocab_size), dtype=np.int64)
    return StateMaps(tables, np.full(shape, _FIRST_HITS), np.full(shape, _FIRST_TRIALS), states)


@compiled
def _bin(value: int, bounds: NDArray[np.int64]) -> int:
    i = 0
    while i < len(bounds) and value >= bounds[i]:
        i += 1
    return i


@compiled
def predict_by_states(
    maps: StateMaps, i: int, tables: Tables, position: int, P: NDArray[np.float64], row: int
) -> None:
    """Predict the next token by the i-th map, and note the states of all tokens.

    Args:
        maps: the maps.
        i: index of the map.
        tables: the counts.
        position: number of tokens read.
        P: distributions (num_rows, vocab_size).
        row: index of the one to set.
    """
    counts, lasts, states, hits, trials = tables.counts, tables.lasts, maps.states, maps.hits, maps.trials
    table = maps.tables[i]
    total, sum_of_rates = _bin(tables.totals[table, PLAIN], _TOTALS), 0.0
    for v in range(P.shape[1]):
        state = total
        if counts[table, PLAIN, v] > 0:
            age = _bin(position - lasts[table, v], _AGES)
            state += (_bin(counts[table, PLAIN, v], _COUNTS) * _NUM_AGES + age) * _NUM_TOTALS
        states[i, v] = state
        P[row, v] = hits[i, state] / trials[i, state]
        sum_of_rates += P[row, v]
    for v in range(P.shape[1]):
        P[row, v] /= sum_of_rates


@compiled
def learn_states(maps: StateMaps, token: int) -> None:
    """Count the trials of the states of all tokens, and the hits of those of the token that came next."""
    states, hits, trials = maps.states, maps.hits, maps.trials
    for i in range(len(states)):
        for v in range(states.shape[1]):
            trials[i, states[i, v]] += 1
        hits[i, states[i, token]] += 1
