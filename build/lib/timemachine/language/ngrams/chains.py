"""Chains of contexts: interpolated modified Kneser–Ney over any contexts, and caches.

A chain has contexts c_0, c_1, …, which are rarer and rarer. If v has followed c_k n_k(v) times,

    P_k(v) = max(n_k(v) − D(n_k(v)), 0) / n_k + γ_k P_{k−1}(v),    γ_k = Σ_v D(n_k(v)) / n_k,

where P_{−1} is the uniform distribution. The topmost level has the counts of all tokens, a level below has
continuation counts. D has one value each for counts of 1, 2 and 3 or more, and changes with the text. Where c_k is
new, P_k = P_{k−1}. Source: S. F. Chen and J. Goodman, 1998; there the contexts are the last k tokens.

A cache interpolates the counts in a window of the last tokens with another prediction (R. Kuhn and R. De Mori,
1990).
"""

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.compiled import compiled
from timemachine.language.ngrams.tables import PLAIN, Tables


@compiled
def interpolate(tables: Tables, table: int, column: int, P: NDArray[np.float64], row: int) -> None:
    """Replace P_{k−1}, a row of P (num_rows, vocab_size), by P_k.

    Args:
        tables: the counts.
        table: the table of c_k.
        column: `PLAIN` or `CONTINUED`.
        P: distributions.
        row: index of the one to replace.
    """
    counts, D, total = tables.counts, tables.discounts, tables.totals[table, column]
    if total == 0:
        return
    num_1, num_2, num_more = 0, 0, 0
    for v in range(P.shape[1]):
        n = counts[table, column, v]
        num_1 += n == 1
        num_2 += n == 2
        num_more += n > 2
    scale, D_1, D_2, D_more = 1 / total, D[table, column, 0], D[table, column, 1], D[table, column, 2]
    gamma = (num_1 * D_1 + num_2 * D_2 + num_more * D_more) * scale
    for v in range(P.shape[1]):
        n = counts[table, column, v]
        discount = D_more if n > 2 else (D_2 if n == 2 else (D_1 if n == 1 else 0.0))
        P[row, v] = gamma * P[row, v] + scale * (n - discount)


@compiled
def predict_by_cache(tables: Tables, table: int, P: NDArray[np.float64], lower: int, row: int) -> None:
    """Set a row of P (num_rows, vocab_size) to (n(v) + P_lower(v)) / (n + 1), counted by a table with a window."""
    counts, scale = tables.counts, 1 / (tables.totals[table, PLAIN] + 1)
    for v in range(P.shape[1]):
        P[row, v] = (counts[table, PLAIN, v] + P[lower, v]) * scale
