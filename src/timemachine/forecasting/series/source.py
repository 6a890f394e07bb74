"""A time series, and the book's noisy sine."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_table, write_table
from timemachine.forecasting.series.config import SeriesParams

# Models see values in float32, and errors are squared and added up.
_SMALLEST, _LARGEST = 1e-15, 1e15


@dataclass(frozen=True)
class Series:
    """Equally spaced observations.

    Attributes:
        time: (T,) numbers, or dates as text, strictly rising.
        x: (T,) float64 values.
    """

    time: NDArray[np.generic]
    x: NDArray[np.float64]

    @property
    def sha256(self) -> str:
        """The hash of all times and values."""
        return hashlib.sha256(json.dumps([self.time.tolist(), self.x.tolist()]).encode()).hexdigest()

    def check_unit(self) -> None:
        """Check that the values are of a size that all models, and their errors, can be worked out with.

        Raises:
            UserError: the largest is too large, or too small without being 0.
        """
        largest = float(np.abs(self.x).max())
        if largest and not _SMALLEST <= largest <= _LARGEST:
            raise UserError(
                f"the largest value is {largest:g}; choose a unit in which it is {_SMALLEST:g} to {_LARGEST:g}"
            )

    def save(self, path: str | Path) -> None:
        """Write the columns `t` and `x` as CSV; the values survive the round trip exactly."""
        rows = zip(self.time.tolist(), self.x.tolist(), strict=True)
        write_table(path, [{"t": t, "x": x} for t, x in rows])

    @classmethod
    def load(cls, path: str | Path) -> "Series":
        """Read what `save` wrote.

        Raises:
            UserError: the file is absent or damaged.
        """
        rows = read_table(path, "a series", lambda row: (row["t"], float(row["x"])))
        time, x = np.array([t for t, _ in rows]), np.array([x for _, x in rows])
        for kind in (np.int64, np.float64):
            with suppress(ValueError):
                return cls(time.astype(kind), x)
        return cls(time, x)


def noisy_sine(num_points: int, frequency: float, noise_std: float, seed: int) -> Series:
    """Return x_t = sin(frequency · t) + ε_t with ε_t ~ N(0, noise_std²), t = 1 … num_points."""
    time = np.arange(1, num_points + 1)
    noise = np.random.default_rng(seed).normal(0, noise_std, num_points)
    return Series(time, np.sin(frequency * time) + noise)


def replicas(series: Series, p: SeriesParams, num_seeds: int) -> NDArray[np.float64]:
    """Return a series as (1, T), or if it is the noisy sine, it and those of the next seeds: (num_seeds, T)."""
    if p.csv is not None:
        return series.x[None]
    more = [noisy_sine(p.num_points, p.frequency, p.noise_std, p.seed + i).x for i in range(1, num_seeds)]
    return np.stack([series.x, *more])
