"""The first difference between two files, and its size."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from timemachine.base.files import read_arrays


def difference(expected: Path, found: Path) -> str:
    """Return a short description of the first difference: a key, array element, cell, pixel or byte.

    Files of other types, and files that cannot be read, are compared byte by byte.
    """
    try:
        match expected.suffix if expected.suffix else found.suffix:
            case ".json":
                return _of_values(*(dict(_leaves(json.loads(path.read_bytes()))) for path in (expected, found)))
            case ".safetensors":
                return _of_arrays(read_arrays(expected), read_arrays(found))
            case ".npy":
                return _of_arrays(*({"array": np.load(path, allow_pickle=False)} for path in (expected, found)))
            case ".csv":
                return _of_values(_cells(expected), _cells(found))
            case ".png":
                from matplotlib.image import imread  # takes a second

                return _of_arrays(*({"pixels": imread(path)} for path in (expected, found)))
    except Exception:  # noqa: S110 - any error of a reader; bytes can always be compared
        pass
    return _of_bytes(expected.read_bytes(), found.read_bytes())


def numbers(content: Any) -> Iterator[tuple[str, float]]:
    """Yield the dotted key and the value of each number in JSON content."""
    for key, value in _leaves(content):
        if _is_number(value):
            yield key, float(value)


def distance(expected: float, found: float) -> float:
    """Return the distance of two numbers relative to the larger one."""
    return abs(expected - found) / max(abs(expected), abs(found), 1e-300)


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, (dict, list)) and content:
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for name, value in items:
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, content


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cells(path: Path) -> dict[str, float | str]:
    """Return the cells of a CSV file with a header, as numbers where they are numbers."""
    header, *rows = csv.reader(path.read_text().splitlines())
    cells = dict[str, float | str]({f"header {i}": name for i, name in enumerate(header, 1)})
    for i, row in enumerate(rows, 2):
        for name, cell in zip(chain(header, count(len(header))), row, strict=False):
            try:
                cells[f"row {i}, column {name}"] = float(cell)
            except ValueError:
                cells[f"row {i}, column {name}"] = cell
    return cells


def _of_values(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    before, now = ({key: repr(value) for key, value in values.items()} for values in (expected, found))
    differing = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    if not differing:
        return "the same values, formatted differently"
    pairs = [(expected.get(key), found.get(key)) for key in differing]
    apart = [distance(a, b) for a, b in pairs if _is_number(a) and _is_number(b) and math.isfinite(a - b)]
    a, b = (texts.get(differing[0], "absent")[:60] for texts in (before, now))
    return f"{differing[0]} is {b}, not {a}; {len(differing)} of {len(before)} values differ" + (
        f", numbers by a relative distance of at most {max(apart):.1g}" if apart else ""
    )


def _of_arrays(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    for name in dict.fromkeys([*expected, *found]):
        if name not in expected or name not in found:
            return f"array {name} is {'absent' if name in expected else 'new'}"
        wanted, got = expected[name], found[name]
        if (wanted.shape, wanted.dtype) != (got.shape, got.dtype):
            return f"array {name} is {got.dtype} {got.shape}, not {wanted.dtype} {wanted.shape}"
        differing = np.argwhere((wanted != got) & ~((wanted != wanted) & (got != got)))
        if len(differing):
            at = tuple(differing[0].tolist())
            apart = np.abs(wanted.astype(complex) - got.astype(complex))[tuple(differing.T)]
            finite = apart[np.isfinite(apart)]
            return (
                f"{name}{list(at)} is {got[at]}, not {wanted[at]}; {len(differing)} of {wanted.size} elements "
                "of this array differ" + (f", by at most {finite.max():.3g}" if len(finite) else "")
            )
    return "the same arrays, stored differently"


def _of_bytes(expected: bytes, found: bytes) -> str:
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    line = expected[:at].count(b"\n") + 1
    return f"byte {at}, in line {line}, is the first that differs; {len(found)} bytes, not {len(expected)}"
