"""Curves over the horizon as JSON and CSV. A value is not finite where a forecast grew without bound."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timemachine.base.files import write_table
from timemachine.forecasting.models.regression import Array


def finite(value: np.floating[Any] | float) -> float | None:
    """Return the value, or None if it is not finite."""
    return float(value) if math.isfinite(value) else None


def at_horizons(curve: Array, ks: Sequence[int]) -> dict[str, float | None]:
    """Return the values of a curve (horizon,) k = 1, 2, … at these k, None where they are not finite."""
    return {str(k): finite(curve[k - 1]) for k in ks}


def write_curves(path: Path, names: Sequence[str], curves: Mapping[Any, Mapping[str, Array]]) -> None:
    """Write curves as CSV with a row for each key and each k = 1, 2, …; values that are not finite are empty.

    Args:
        path: the file.
        names: the columns for the parts of a key.
        curves: by key, a tuple, the columns (horizon,) by name.
    """
    rows = []
    for key, columns in curves.items():
        for k, values in enumerate(zip(*columns.values(), strict=True), 1):
            texts = [value if math.isfinite(value) else "" for value in values]
            rows.append(dict(zip((*names, "k", *columns), (*key, k, *texts), strict=True)))
    write_table(path, rows)
