"""Configuration of the series."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, field_validator

from timemachine.base.config import NonNegative, Positive, Section, Seed, Text


class SeriesParams(Section):
    """The noisy sine, or a series of your own from a CSV file."""

    csv: Text | None
    time_column: Text = "time"
    value_column: Text = "value"
    num_points: Annotated[int, Field(ge=2, le=10_000_000)] = 1000
    frequency: Positive = 0.01
    noise_std: NonNegative
    seed: Seed = 0

    @field_validator("csv")
    @classmethod
    def _below_own(cls, path: str | None) -> str | None:
        if path is not None:
            parts = PurePosixPath(path).parts
            if parts[:2] != ("data", "own") or len(parts) < 3 or ".." in parts or "\0" in path:
                raise ValueError(f"{path!r} must lie below data/own/, which is a dependency of the stage")
        return path

    @property
    def noise_floor(self) -> float | None:
        """RMSE of the best possible forecast, the standard deviation of the noise; None if unknown or 0."""
        return self.noise_std if self.csv is None and self.noise_std else None
