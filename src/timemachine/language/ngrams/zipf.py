"""Zipf's law: the i-th most frequent n-gram occurs n_i ∝ i^(−α) times."""

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError


def fit_exponent(counts: NDArray[np.integer], first_rank: int, last_rank: int) -> tuple[float, tuple[int, int]]:
    """Fit log n_i = −α log i + c by least squares over ranks first_rank … last_rank.

    Args:
        counts: (num_distinct,) in descending order; the first has rank 1.
        first_rank: first rank of the fit, at least 1.
        last_rank: last rank of the fit; at most the number of distinct n-grams is used.

    Returns:
        α, and the first and last rank of the fit.

    Raises:
        UserError: fewer than two ranks are left.
    """
    last_rank = min(last_rank, len(counts))
    if last_rank - first_rank < 1:
        raise UserError(f"ngrams.zipf_ranks: ranks {first_rank} to {last_rank} are too few: {len(counts)} n-grams")
    ranks = np.arange(first_rank, last_rank + 1)
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[first_rank - 1 : last_rank]), 1)
    return -float(slope), (first_rank, last_rank)
