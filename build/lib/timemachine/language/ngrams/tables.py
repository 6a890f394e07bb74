"""Counts of the tokens that followed each context, in one hash table that grows with what has been read.

A slot of the hash table (open addressing, linear probing) belongs to one context of one table, and has a list of
the tokens that followed, each in a node. Most contexts are rare and were followed by few tokens, so that rows for
the whole vocabulary would be nearly empty. Before a token is predicted, the lists of the present contexts are
written out as such rows, which all experts read.

A token after a context has two counts: how often it occurred there, and its continuation count, how often it
occurred there and was new in a longer context (R. Kneser and H. Ney, 1995). A table with a window counts the last
tokens of the text only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import compiled, entry
from timemachine.language.ngrams.contexts import CONTEXTS, LETTERS, combined

# The two counts, and the columns of slots and nodes.
PLAIN, CONTINUED = 0, 1
_KEY, _HEAD, _TOTALS, _SLOT_SIZE = 0, 1, 2, 4
_SYMBOL, _NEXT, _LAST, _COUNTS, _NODE_SIZE = 0, 1, 2, 3, 5
_NONE = -1
_LEAST_SLOTS, _LEAST_NODES = 2**16, 2**15
# Counts of counts before the first token, and the discounts that follow from them: those of ordinary text.
PRIOR = (8.0, 3.0, 1.5, 1.0)
# D for a count of 1, 2, and 3 or more is at least and at most this.
BOUNDS = ((0.05, 0.98), (0.1, 1.9), (0.1, 2.8))


class Table(NamedTuple):
    """What a table counts.

    Attributes:
        context: an entry of `CONTEXTS`.
        above: the longer context of the continuation counts; empty: every token is new.
        window: number of the last tokens to count; 0 for all.
    """

    context: str
    above: str = ""
    window: int = 0


class Tables(NamedTuple):
    """The counts of all tables, and those after the present contexts.

    Attributes:
        contexts: (num_tables,) index of the context of each table.
        lengths: (num_tables,) number of letters of the context, 0 for other contexts.
        above: (num_tables,) a table of the longer context, -1 for none.
        windows: (num_tables,) lengths of the windows, 0 for none.
        slots: (num_slots, 4) hash of table and context, first node or -1 for a free slot, sums of both counts.
        nodes: (num_nodes, 5) token, next node or -1, position of the last occurrence, both counts.
        used: (2,) number of slots and of nodes in use.
        recent: (num_windows, longest window, 2) hash and token of each position in the window, by position modulo
            its length.
        counts_of_counts: (num_tables, 2, 4) number of tokens with a count of 1, 2, 3 and 4, and a prior.
        discounts: (num_tables, 2, 3) D for a count of 1, 2, and 3 or more.
        found: (num_tables,) slots of the present contexts, which may be free.
        totals: (num_tables, 2) sums of both counts after the present contexts.
        counts: (num_tables, 2, vocab_size) both counts of every token after the present contexts.
        lasts: (num_tables, vocab_size) the position where each occurred there last, if it did.
        at: (num_tables, vocab_size) the node of each, or -1.
    """

    contexts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    above: NDArray[np.int64]
    windows: NDArray[np.int64]
    slots: NDArray[np.int64]
    nodes: NDArray[np.int32]
    used: NDArray[np.int64]
    recent: NDArray[np.int64]
    counts_of_counts: NDArray[np.float64]
    discounts: NDArray[np.float64]
    found: NDArray[np.int64]
    totals: NDArray[np.int64]
    counts: NDArray[np.int32]
    lasts: NDArray[np.int32]
    at: NDArray[np.int32]


def new_tables(tables: Sequence[Table], vocab_size: int) -> Tables:
    """Return empty tables; those with a window must be the last ones."""
    n, contexts = len(tables), [table.context for table in tables]
    windows = np.array([table.window for table in tables])
    return Tables(
        contexts=np.array([CONTEXTS.index(context) for context in contexts]),
        lengths=np.array([LETTERS.index(context) if context in LETTERS else 0 for context in contexts]),
        above=np.array([contexts.index(table.above) if table.above else _NONE for table in tables]),
        windows=windows,
        slots=_free_slots(_LEAST_SLOTS),
        nodes=np.empty((_LEAST_NODES, _NODE_SIZE), dtype=np.int32),
        used=np.zeros(2, dtype=np.int64),
        recent=np.full((np.count_nonzero(windows), windows.max(), 2), _NONE),
        counts_of_counts=np.tile(PRIOR, (n, 2, 1)),
        discounts=np.tile(estimate_discounts(*PRIOR), (n, 2, 1)),
        found=np.zeros(n, dtype=np.int64),
        totals=np.zeros((n, 2), dtype=np.int64),
        counts=np.zeros((n, 2, vocab_size), dtype=np.int32),
        lasts=np.zeros((n, vocab_size), dtype=np.int32),
        at=np.zeros((n, vocab_size), dtype=np.int32),
    )


def with_room(tables: Tables, num_tokens: int) -> Tables:
    """Return the tables with room for further tokens; slots and nodes move to larger arrays if needed."""
    num_slots, num_nodes = (tables.used + num_tokens * len(tables.contexts)).tolist()
    nodes, slots = tables.nodes, tables.slots
    if len(nodes) < num_nodes:
        nodes = np.empty((num_nodes + num_nodes // 2, _NODE_SIZE), dtype=np.int32)
        nodes[: len(tables.nodes)] = tables.nodes
    if 3 * len(slots) < 4 * num_slots:  # at most three quarters are in use
        slots = _free_slots(2 ** (4 * num_slots // 3).bit_length())
        _move(tables.slots, slots)
    return tables._replace(slots=slots, nodes=nodes)


def _free_slots(num_slots: int) -> NDArray[np.int64]:
    return np.tile(np.array([0, _NONE, 0, 0]), (num_slots, 1))


@compiled
def _slot_of(slots: NDArray[np.int64], key: int) -> int:
    """Return the slot that has a key, or the free one where it belongs."""
    mask = len(slots) - 1
    i = key & mask
    while slots[i, _HEAD] != _NONE and slots[i, _KEY] != key:
        i = (i + 1) & mask
    return i


@entry
def _move(slots: NDArray[np.int64], larger: NDArray[np.int64]) -> None:
    for i in range(len(slots)):
        if slots[i, _HEAD] != _NONE:
            j = _slot_of(larger, slots[i, _KEY])
            for column in range(_SLOT_SIZE):
                larger[j, column] = slots[i, column]


@compiled
def _key(contexts: NDArray[np.uint64], context: int, table: int) -> int:
    return int(np.int64(combined(contexts[context], np.uint64(table))))


@compiled
def look_up(tables: Tables, contexts: NDArray[np.uint64]) -> None:
    """Set `found`, `totals`, `counts`, `lasts` and `at` to those after the present contexts (num_contexts,)."""
    slots, nodes, found, totals = tables.slots, tables.nodes, tables.found, tables.totals
    counts, lasts, at, indices = tables.counts, tables.lasts, tables.at, tables.contexts
    # All slots first: accesses to memory that do not depend on each other overlap.
    for i in range(len(found)):
        found[i] = _slot_of(slots, _key(contexts, indices[i], i))
    for i in range(len(found)):
        for v in range(at.shape[1]):
            counts[i, PLAIN, v] = counts[i, CONTINUED, v] = 0
            at[i, v] = _NONE
        node = slots[found[i], _HEAD]
        while node != _NONE:
            v = int(nodes[node, _SYMBOL])
            counts[i, PLAIN, v] = nodes[node, _COUNTS]
            counts[i, CONTINUED, v] = nodes[node, _COUNTS + 1]
            lasts[i, v] = nodes[node, _LAST]
            at[i, v] = node
            node = int(nodes[node, _NEXT])
        totals[i, PLAIN] = slots[found[i], _TOTALS]
        totals[i, CONTINUED] = slots[found[i], _TOTALS + 1]


@compiled
def count(tables: Tables, contexts: NDArray[np.uint64], token: int, position: int) -> None:
    """Count a token after the present contexts, which `look_up` has found.

    Args:
        tables: the counts, with room for the token.
        contexts: (num_contexts,) hashes.
        token: the token that followed.
        position: number of tokens before it. Contexts of more letters are not counted.
    """
    slots, nodes, used, found, at = tables.slots, tables.nodes, tables.used, tables.found, tables.at
    indices, lengths, aboves, windows = tables.contexts, tables.lengths, tables.above, tables.windows
    recent, n, D = tables.recent, tables.counts_of_counts, tables.discounts
    for i in range(len(found)):
        if position < lengths[i]:
            continue
        slot, node, above = found[i], int(at[i, token]), aboves[i]
        if node == _NONE:
            key = _key(contexts, indices[i], i)
            slot = _slot_of(slots, key)  # the free slot that was found may be that of another context now
            node = used[1]
            used[1] += 1
            if slots[slot, _HEAD] == _NONE:
                used[0] += 1
                slots[slot, _KEY] = key
            nodes[node, _SYMBOL], nodes[node, _NEXT] = token, slots[slot, _HEAD]
            nodes[node, _COUNTS] = nodes[node, _COUNTS + 1] = 0
            slots[slot, _HEAD] = node
        nodes[node, _LAST] = position
        is_new = above == _NONE or at[above, token] == _NONE
        for column in range(2 if is_new else 1):
            before = nodes[node, _COUNTS + column]
            nodes[node, _COUNTS + column] += 1
            slots[slot, _TOTALS + column] += 1
            if before <= 4:
                if before < 4:
                    n[i, column, before] += 1
                if before > 0:
                    n[i, column, before - 1] -= 1
                D[i, column, 0], D[i, column, 1], D[i, column, 2] = _discounts(
                    n[i, column, 0], n[i, column, 1], n[i, column, 2], n[i, column, 3]
                )
        if windows[i] > 0:
            row, oldest = i - len(found) + len(recent), position % windows[i]
            if recent[row, oldest, 1] != _NONE:
                _uncount(slots, nodes, recent[row, oldest, 0], recent[row, oldest, 1])
            recent[row, oldest, 0], recent[row, oldest, 1] = slots[slot, _KEY], token


@compiled
def _uncount(slots: NDArray[np.int64], nodes: NDArray[np.int32], key: int, token: int) -> None:
    """Subtract one from the count of a token after the context with this key."""
    slot = _slot_of(slots, key)
    node = slots[slot, _HEAD]
    while nodes[node, _SYMBOL] != token:
        node = int(nodes[node, _NEXT])
    nodes[node, _COUNTS] -= 1
    slots[slot, _TOTALS] -= 1


def estimate_discounts(n_1: float, n_2: float, n_3: float, n_4: float) -> tuple[float, float, float]:
    """Return D for a count of 1, 2, and 3 or more, from how many counts are 1, 2, 3 and 4, all positive.

    Source: S. F. Chen and J. Goodman, 1998, equation 17. `BOUNDS` keep D sensible where few counts are known.
    """
    y = n_1 / (n_1 + 2 * n_2)
    return (
        min(max(1 - 2 * y * n_2 / n_1, BOUNDS[0][0]), BOUNDS[0][1]),
        min(max(2 - 3 * y * n_3 / n_2, BOUNDS[1][0]), BOUNDS[1][1]),
        min(max(3 - 4 * y * n_4 / n_3, BOUNDS[2][0]), BOUNDS[2][1]),
    )


_discounts = compiled(estimate_discounts)
