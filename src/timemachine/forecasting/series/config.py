"""Configuration of the series."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator

from timemachine.base.config import NonNegative, Positive, Section, Seed, Text
from timemachine.base.errors import UserError

Fill = Literal["linear", "previous"]
Steps = Literal["equal", "rows"]


@dataclass(frozen=True)
class Layout:
    """How to read the file of a series; what is None is found.

    Attributes:
        time: name of the column of times.
        value: name of the column of values.
        date_format: form of the dates, of `strptime`.
        steps: "rows" takes rows as consecutive, whatever their times.
        fill: fills missing rows and values with a line between the values beside them, or with the value before.
        where: a column, and the text that the rows of the series have there.
    """

    time: str | None = None
    value: str | None = None
    date_format: str | None = None
    steps: Steps = "equal"
    fill: Fill | None = None
    where: tuple[str, str] | None = None


def column_and_text(where: str) -> tuple[str, str]:
    """Return the two parts of COLUMN=VALUE.

    Raises:
        UserError: there is no "=", or no column before it.
    """
    column, equals, text = where.partition("=")
    if not (equals and column.strip()):
        raise UserError(f"{where!r} is not COLUMN=VALUE")
    return column.strip(), text.strip()


class SeriesParams(Section):
    """The noisy sine, or a series of your own from a CSV file."""

    csv: Text | None
    time_column: Text = "time"
    value_column: Text = "value"
    date_format: Text | None = None
    steps: Steps = "equal"
    fill: Fill | None = None
    where: Text | None = None
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

    @field_validator("where")
    @classmethod
    def _two_parts(cls, where: str | None) -> str | None:
        if where is not None:
            column_and_text(where)
        return where

    @property
    def noise_floor(self) -> float | None:
        """RMSE of the best possible forecast, the standard deviation of the noise; None if unknown or 0."""
        return self.noise_std if self.csv is None and self.noise_std else None
