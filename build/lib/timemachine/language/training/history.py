"""The history of a training: a CSV file with a row for each epoch and a column for each metric."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from timemachine.base.files import read_table


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of a history, with counts as `int` and other values as `float`.

    Raises:
        UserError: the file is absent, empty or not a table of numbers.
    """
    return read_table(path, "a table of numbers by epoch", _numbers)


def kept(rows: Sequence[dict[str, float]], early_stopping: bool) -> dict[str, float]:
    """Return the row of the epoch whose weights were kept: the last, or with early stopping the best."""
    return min(rows, key=lambda row: row["val_nats"]) if early_stopping else rows[-1]


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    # A value of a row that is too short is None: float() raises a TypeError.
    numbers = {key: int(text) if (text or "").isdigit() else float(text) for key, text in row.items()}
    return {"epoch": numbers["epoch"]} | numbers
