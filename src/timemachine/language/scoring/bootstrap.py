"""Confidence intervals of scores, by the circular block bootstrap.

Source: D. N. Politis and J. P. Romano, A Circular Block-Resampling Procedure for Stationary Data, 1992.
"""

import math

import numpy as np
from numpy.typing import NDArray

from timemachine.text.corpus import HELD_OUT, Corpus, Part

Array = NDArray[np.float64]


class BlockBootstrap:
    """Resampled versions of a text, drawn once and used for every model that is scored on it.

    Neighbouring tokens depend on each other, so whole blocks of them are drawn, with replacement, from the text
    closed to a circle, until they are as long as the text. All models share the draws: an interval does not
    depend on which other models are scored, and the interval of a difference is that of paired samples.

    Args:
        weights: (n,) weight of each token, for example its number of characters.
        block_length: tokens per block; longer than the range of the dependence. At most n are used.
        num_samples: number of resampled texts; num_samples × n / block_length integers are kept.
        generator: source of the random blocks.
    """

    def __init__(
        self, weights: Array, block_length: int, num_samples: int, generator: np.random.Generator
    ) -> None:
        self.weights = weights
        self.block_length = min(block_length, len(weights))
        num_blocks = -(-len(weights) // self.block_length)
        self._starts = generator.integers(len(weights), size=(num_samples, num_blocks))
        self._denominators = self._resampled_sums(weights)  # (num_samples,)

    def interval(self, values: Array) -> tuple[float, float]:
        """Return the ends of the 95 % interval of Σ values / Σ weights, percentiles of the resampled ratios.

        Args:
            values: (n,) value of each token, for example its nats, or the difference of two models' nats.
        """
        ratios = self._resampled_sums(values) / self._denominators
        low, high = np.quantile(ratios, [(1 - 0.95) / 2, (1 + 0.95) / 2])
        return float(low), float(high)

    def bits(self, nats: Array) -> dict[str, float]:
        """Return `bits_per_character`, and `low` and `high`, the ends of its 95 % interval.

        Args:
            nats: (n,) nats of each token, or the difference of two models' nats; `weights` are characters.
        """
        bits = nats / math.log(2)
        low, high = self.interval(bits)
        return {"bits_per_character": float(bits.sum() / self.weights.sum()), "low": low, "high": high}

    def _resampled_sums(self, values: Array) -> Array:
        """Return the sum of values (n,) over each resampled text, (num_samples,)."""
        length = self.block_length
        upto = np.cumsum(np.concatenate([[0], values, values[: length - 1]]))
        of_blocks = upto[length:] - upto[:-length]  # (n,) by the token at which a block begins
        sums: Array = of_blocks[self._starts].sum(1)
        return sums


def bootstraps_by_part(
    corpus: Corpus, block_length: int, num_samples: int, seed: int
) -> dict[Part, BlockBootstrap]:
    """Return the bootstraps of the held-out parts of a corpus; the weights are numbers of characters."""
    generator = np.random.default_rng(seed)
    characters = {part: corpus.characters(corpus.part(part)) for part in HELD_OUT}
    return {p: BlockBootstrap(n, block_length, num_samples, generator) for p, n in characters.items()}
