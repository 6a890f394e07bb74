"""How far a mean over a text would move on another text of the same kind."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean_interval(
    values: Array,
    weights: Array,
    block_length: int,
    num_samples: int,
    generator: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the ends of an interval of Σ values / Σ weights, by the circular block bootstrap.

    Neighbours in a text depend on each other, so whole blocks of them are drawn, with replacement, from the
    sequence closed to a circle until they are as long as the sequence; the ends are percentiles of the ratio.
    Source: D. N. Politis and J. P. Romano, A Circular Block-Resampling Procedure for Stationary Data, 1992.

    Args:
        values: (n,) of each token, say its nats, or the difference of two models' nats.
        weights: (n,) of each token, say its characters.
        block_length: tokens per block, longer than what depends on each other; at most n are taken.
        num_samples: sequences drawn; num_samples × n / block_length numbers are held at a time.
        generator: draws the blocks.
        level: probability of the interval.
    """
    block_length = min(block_length, len(values))
    num_blocks = -(-len(values) // block_length)
    starts = generator.integers(len(values), size=(num_samples, num_blocks))
    # (num_samples,) each
    numerators, denominators = (_block_sums(a, block_length)[starts].sum(1) for a in (values, weights))
    low, high = np.quantile(numerators / denominators, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bits_with_interval(
    nats: Array, characters: Array, block_length: int, num_samples: int, generator: np.random.Generator
) -> dict[str, float]:
    """Return `bits_per_character` of a text, and `low` and `high`, the ends of its 95 % interval.

    Args:
        nats: (n,) of each token, or the difference of two models' nats.
        characters: (n,) that each token stands for.
        block_length: as in `mean_interval`.
        num_samples: as in `mean_interval`.
        generator: draws the blocks.
    """
    bits = nats / math.log(2)
    low, high = mean_interval(bits, characters, block_length, num_samples, generator)
    return {"bits_per_character": float(bits.sum() / characters.sum()), "low": low, "high": high}


def _block_sums(values: Array, block_length: int) -> Array:
    """Return the sums (n,) of the blocks of values (n,) that begin at each index of the circle."""
    upto = np.cumsum(np.concatenate([[0], values, values[: block_length - 1]]))
    return upto[block_length:] - upto[:-block_length]
