"""Zipf's law: the i-th most frequent n-gram occurs n_i ∝ i^(−α) times."""

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError


def fit_exponent(counts: NDArray[np.integer], first_rank: int, last_rank: int) -> tuple[float, tuple[int, int]]:
    """Fit log n_i = −α log i + c by least squares over ranks first_rank … last_rank.

    Args:
        counts: (num_distinct,) by falling count; rank 1 is the first.
        first_rank: first rank of the fit, from 1.
        last_rank: last rank of the fit, cut to the number of distinct n-grams.

    Returns:
        α and the ranks it was really fitted on.

    Raises:
        UserError: fewer than two ranks are left.
    """
    last_rank = min(last_rank, len(counts))
    if last_rank - first_rank < 1:
        raise UserError(f"ngrams.zipf_ranks: ranks {first_rank} to {last_rank} are too few: {len(counts)} n-grams")
    ranks = np.arange(first_rank, last_rank + 1)
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[first_rank - 1 : last_rank]), 1)
    return -float(slope), (first_rank, last_rank)
