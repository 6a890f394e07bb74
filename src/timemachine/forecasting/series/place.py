"""The place of a text in a file, for messages."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A column of some rows.

    Attributes:
        lines: (n,) the line of each row in the file.
        column: the name of the column.
    """

    lines: Sequence[int]
    column: str

    def __call__(self, row: int) -> str:
        """Return the line and the column of a row."""
        return f"{self.line(row)}, column {self.column!r}"

    def line(self, row: int) -> str:
        """Return the line of a row."""
        return f"line {self.lines[row]}"
