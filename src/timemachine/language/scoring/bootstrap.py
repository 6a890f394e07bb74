"""Confidence intervals of scores, by the circular block bootstrap.

Source: D. N. Politis and J. P. Romano, A Circular Block-Resampling Procedure for Stationary Data, 1992.
"""

import math

import numpy as np
from numpy.typing import NDArray

from timemachine.text.tokens.corpus import HELD_OUT, Corpus, Part

Array = NDArray[np.float64]

_MOST_DRAWN = 2**20  # blocks


class BlockBootstrap:
    """Resampled versions of a text, drawn once and used for every model that is scored on it.

    Neighbouring tokens depend on each other, so whole blocks of them are drawn, with replacement, from the text
    closed to a circle, until they are as long as the text. All models share the draws: an interval does not
    depend on which other models are scored, and the interval of a difference is that of paired samples.

    Args:
        characters: (n,) number of characters of each token.
        block_length: tokens per block; longer than the range of the dependence. At most n are used.
        num_samples: number of resampled texts; num_samples × n / block_length integers of 4 bytes are kept.
        generator: source of the random blocks.
    """

    def __init__(
        self, characters: Array, block_length: int, num_samples: int, generator: np.random.Generator
    ) -> None:
        n = len(characters)
        self._characters = characters.sum()
        self._length = min(block_length, n)
        num_blocks, small = -(-n // self._length), np.int32 if n < 2**31 else np.int64
        # Samples are drawn, and below added up, some at a time: all at once would take several times the memory.
        rows = max(_MOST_DRAWN // num_blocks, 1)
        self._starts = [
            generator.integers(n, size=(min(rows, num_samples - first), num_blocks)).astype(small)
            for first in range(0, num_samples, rows)
        ]
        self._denominators = self._resampled_sums(characters)  # (num_samples,)

    def bits(self, nats: Array) -> dict[str, float]:
        """Return `bits_per_character`, and `low` and `high`, the ends of its 95 % interval.

        The ends are percentiles of the bits per character of the resampled texts.

        Args:
            nats: (n,) nats of each token, or the difference of two models' nats.
        """
        bits = nats / math.log(2)
        level = [(1 - 0.95) / 2, (1 + 0.95) / 2]
        low, high = np.quantile(self._resampled_sums(bits) / self._denominators, level).tolist()
        return {"bits_per_character": float(bits.sum() / self._characters), "low": low, "high": high}

    def _resampled_sums(self, values: Array) -> Array:
        """Return the sum of values (n,) over each resampled text, (num_samples,)."""
        upto = np.cumsum(np.concatenate([[0], values, values[: self._length - 1]]))
        of_blocks = upto[self._length :] - upto[: -self._length]  # (n,) by the token at which a block begins
        return np.concatenate([of_blocks[starts].sum(1) for starts in self._starts])


def bootstraps_by_part(
    corpus: Corpus, block_length: int, num_samples: int, seed: int
) -> dict[Part, BlockBootstrap]:
    """Return the bootstraps of the held-out parts of a corpus."""
    generator = np.random.default_rng(seed)
    characters = {part: corpus.characters(corpus.part(part)) for part in HELD_OUT}
    return {part: BlockBootstrap(n, block_length, num_samples, generator) for part, n in characters.items()}
