"""A model's history as a CSV file: a row for each epoch, a column for each number."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from timemachine.files import write_text


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write rows of the same keys, `epoch` among them; numbers survive the round trip exactly."""
    lines = [list(rows[0]), *(row.values() for row in rows)]
    write_text(path, "".join(",".join(map(str, line)) + "\n" for line in lines))


def read_history(path: Path) -> list[dict[str, float]]:
    """Return what `write_history` wrote.

    Raises:
        ValueError: the file is absent, empty or not a table of numbers.
    """
    try:
        with path.open(newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; `dvc repro` makes it") from None
    except (TypeError, ValueError, csv.Error):
        rows = []
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{path}: not a table of numbers by epoch; `dvc repro` makes it again")
    return rows
