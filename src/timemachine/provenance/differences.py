"""The first difference between two files, and its size."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
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
                return _of_json(json.loads(expected.read_bytes()), json.loads(found.read_bytes()))
            case ".safetensors":
                return _of_arrays(read_arrays(expected), read_arrays(found))
            case ".npy":
                return _of_arrays(*({"array": np.load(path, allow_pickle=False)} for path in (expected, found)))
            case ".csv":
                return _of_rows(*(list(csv.reader(path.read_text().splitlines())) for path in (expected, found)))
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


def _of_json(expected: Any, found: Any) -> str:
    wanted, got = dict(_leaves(expected)), dict(_leaves(found))
    before, now = ({key: repr(value) for key, value in leaves.items()} for leaves in (wanted, got))
    differing = [key for key in dict.fromkeys([*wanted, *got]) if before.get(key) != now.get(key)]
    if not differing:
        return "the same values, formatted differently"
    pairs = [(wanted.get(key), got.get(key)) for key in differing]
    apart = [distance(a, b) for a, b in pairs if _is_number(a) and _is_number(b) and math.isfinite(a - b)]
    a, b = (leaves.get(differing[0], "absent")[:60] for leaves in (before, now))
    return f"{differing[0]} is {b}, not {a}; {len(differing)} of {len(wanted)} values differ" + (
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


def _of_rows(expected: list[list[str]], found: list[list[str]]) -> str:
    for i, (wanted, got) in enumerate(zip(expected, found, strict=False), 1):
        for column, (a, b) in enumerate(zip(wanted, got, strict=False)):
            if a != b:
                name = expected[0][column] if column < len(expected[0]) else column
                return f"row {i}, column {name} is {b[:40]}, not {a[:40]}{_apart(a, b)}"
        if len(wanted) != len(got):
            return f"row {i} has {len(got)} cells, not {len(wanted)}"
    if len(expected) == len(found):
        return "the same cells, formatted differently"
    return f"{len(found)} rows, not {len(expected)}"


def _apart(expected: str, found: str) -> str:
    try:
        apart = distance(float(expected), float(found))
    except ValueError:
        return ""
    return f"; relative distance {apart:.1g}" if math.isfinite(apart) else ""


def _of_bytes(expected: bytes, found: bytes) -> str:
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    line = expected[:at].count(b"\n") + 1
    return f"byte {at}, in line {line}, is the first that differs; {len(found)} bytes, not {len(expected)}"
