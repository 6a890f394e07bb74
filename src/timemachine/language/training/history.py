"""A model's history: a CSV file with a row for each epoch and a column for each number."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.base.files import read_table


def perplexity(nats: float) -> float:
    """Return exp(nats per token), at most 1e100: figures of diverging models stay drawable."""
    return min(math.exp(min(nats, 700.0)), 1e100)


def read_history(path: Path) -> list[dict[str, float]]:
    """Return what `timemachine.base.files.write_table` wrote.

    Raises:
        UserError: the file is absent, empty or not a table of numbers.
    """
    return read_table(path, "a table of numbers by epoch", _numbers)


def kept(rows: Sequence[dict[str, float]], early_stopping: bool) -> dict[str, float]:
    """Return the row of the epoch whose weights the model has: the last, or with early stopping the best."""
    return min(rows, key=lambda row: row["val_nats"]) if early_stopping else rows[-1]


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    return {"epoch": _number(row["epoch"])} | {key: _number(value) for key, value in row.items()}


def _number(text: str | None) -> float:
    if text is None:
        raise UserError("a row is too short")
    return int(text) if text.isdigit() else float(text)
