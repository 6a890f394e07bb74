"""A series as pairs of past observations and the next one."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def embed(x: Array, tau: int) -> tuple[Array, Array]:
    """Return features (x_{t−τ}, …, x_{t−1}) and labels x_t.

    Args:
        x: (T,) observations.
        tau: embedding dimension τ.

    Returns:
        features (T − τ, τ) and labels (T − τ,).

    Raises:
        ValueError: T ≤ τ.
    """
    if len(x) <= tau:
        raise ValueError(f"{len(x)} observations leave no pair at tau = {tau}")
    return np.lib.stride_tricks.sliding_window_view(x, tau)[:-1], x[tau:]
