"""A time series, and the book's noisy sine."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_table, write_table
from timemachine.forecasting.series.config import SeriesParams

# Models compute in float32, and errors are squared and summed.
_SMALLEST, _LARGEST = 1e-15, 1e15
# Texts of times that are numbers; all others are dates.
_NUMBERS = {r"-?\d+": np.int64, r"-?\d+(\.\d+)?(e[+-]?\d+)?": np.float64}


@dataclass(frozen=True)
class Series:
    """Equally spaced observations.

    Attributes:
        time: (T,) numbers, or dates as text, strictly increasing.
        x: (T,) float64 values.
    """

    time: NDArray[np.generic]
    x: NDArray[np.float64]

    @property
    def sha256(self) -> str:
        """The SHA-256 of all times and values."""
        return hashlib.sha256(json.dumps([self.time.tolist(), self.x.tolist()]).encode()).hexdigest()

    def check_unit(self) -> None:
        """Check that models and squared errors of the values neither overflow nor underflow.

        Raises:
            UserError: the largest absolute value is above 1e15, or below 1e-15 and not 0.
        """
        largest = float(np.abs(self.x).max())
        if largest and not _SMALLEST <= largest <= _LARGEST:
            raise UserError(
                f"the largest value is {largest:g}; choose a unit in which it is {_SMALLEST:g} to {_LARGEST:g}"
            )

    def save(self, path: str | Path) -> None:
        """Write the columns `t` and `x` as CSV; `load` returns exactly the same values."""
        write_table(path, [{"t": t, "x": x} for t, x in zip(self.time.tolist(), self.x.tolist(), strict=True)])

    @classmethod
    def load(cls, path: str | Path) -> "Series":
        """Read a file that `save` wrote.

        Raises:
            UserError: the file does not exist or is damaged.
        """
        rows = read_table(path, "a series", lambda row: (row["t"], float(row["x"])))
        time, x = np.array([t for t, _ in rows]), np.array([x for _, x in rows])
        for pattern, dtype in _NUMBERS.items():
            if all(re.fullmatch(pattern, t) for t in time):
                return cls(time.astype(dtype), x)
        return cls(time, x)


def noisy_sine(num_points: int, frequency: float, noise_std: float, seed: int) -> Series:
    """Return x_t = sin(frequency · t) + ε_t with ε_t ~ N(0, noise_std²), t = 1 … num_points."""
    time = np.arange(1, num_points + 1)
    noise = np.random.default_rng(seed).normal(0, noise_std, num_points)
    return Series(time, np.sin(frequency * time) + noise)


def replicas(series: Series, p: SeriesParams, num_seeds: int) -> NDArray[np.float64]:
    """Return the series that strategies are compared on: (num_series, T).

    These are the noisy sine and those of the following seeds, `num_seeds` in total, or one series of your own.
    """
    if p.csv is not None:
        return series.x[None]
    more = [noisy_sine(p.num_points, p.frequency, p.noise_std, p.seed + i).x for i in range(1, num_seeds)]
    return np.stack([series.x, *more])
