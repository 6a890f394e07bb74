"""Numbers as people write them: decimal comma, separators of thousands, percent and currency signs."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError

MISSING = frozenset((
    "", ".", "..", "…", "-", "--", "–", ":", "?", "na", "n/a", "#n/a", "n.a.", "n.a", "nan", "null", "none",
    "<na>", "nil", "missing", "\\n", "#value!", "#div/0!", "#ref!", "nd", "n.d.",
))  # fmt: skip
PLAIN = re.compile(r"[-+]?(?:\d+(?:\.(\d*))?|\.(\d+))(?:[eE][-+]?\d+)?")
_CURRENCY = r"[$€£¥₹]|(?:USD|EUR|GBP|JPY|CHF|CNY|AUD|CAD|INR|Rs\.?)"
_SIGNS = re.compile(rf"([-+(]?)\s*({_CURRENCY})?\s*([-+]?[\d.].*?)\s*(%|{_CURRENCY})?")
_SPACES = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'"})
_EMPTY = "correct it, or leave it empty and fill it with --fill"
_GROUPED_POINT = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")


@dataclass(frozen=True)
class Place:
    """Where texts are in a file, for messages: a column of some rows.

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


@dataclass(frozen=True)
class _Style:
    """How a column writes its numbers."""

    point: str
    thousands: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        whole = r"\d+"
        if self.thousands:
            whole = rf"(?:[1-9]\d{{0,2}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+)"
        return re.compile(rf"[-+]?(?:{whole}(?:{re.escape(self.point)}(\d*))?|{re.escape(self.point)}(\d+))")

    def plain(self, text: str) -> str:
        text = text.replace(self.thousands, "") if self.thousands else text
        return text.replace(self.point, ".")


_STYLES = [_Style(".", t) for t in ("", ",", " ", "'")] + [_Style(",", t) for t in ("", ".", " ", "'")]


def is_number(text: str) -> bool:
    """Return whether a text looks like a number, in any style."""
    if PLAIN.fullmatch(text) is not None:
        return True
    found = _SIGNS.fullmatch(text.translate(_SPACES)) if any(map(str.isdigit, text)) else None
    return found is not None and any(style.pattern.fullmatch(found[3]) for style in _STYLES)


def is_missing(text: str) -> bool:
    """Return whether a text stands for a missing value."""
    return text.lower() in MISSING


def read_numbers(texts: Sequence[str], where: Place, separator: str) -> tuple[NDArray[np.float64], int | None]:
    """Return the values (n,), NaN where one is missing, and the most decimals that are written.

    Args:
        texts: (n,) the column.
        where: the place of the texts in the file.
        separator: of the columns of the file: with ';' a comma is a decimal comma.

    Returns:
        The values; and the number of decimals, None if a value has an exponent.

    Raises:
        UserError: a text is not a number, not finite, or can be read in two ways.
    """
    known = [i for i, text in enumerate(texts) if not is_missing(text)]
    cells = [texts[i] for i in known]
    found = [PLAIN.fullmatch(cell) for cell in cells]
    pointed = [cell for cell in cells if "." in cell] if separator == ";" else []
    # Beside ';' all points may also separate thousands.
    if not all(found) or (pointed and all(map(_GROUPED_POINT.fullmatch, pointed))):
        cells = _normal(cells, Place([where.lines[i] for i in known], where.column), separator)
        found = [PLAIN.fullmatch(cell) for cell in cells]
    values = np.full(len(texts), np.nan)
    values[known] = [float(cell) for cell in cells]
    if (infinite := np.isinf(values)).any():
        i = int(infinite.argmax())
        raise UserError(f"{where(i)}: {texts[i]!r} is too large for a number of 64 bits")
    if any("e" in cell or "E" in cell for cell in cells):
        return values, None
    return values, max((len(match[1] or match[2] or "") for match in found if match), default=0)


def _normal(cells: list[str], where: Place, separator: str) -> list[str]:
    """Return the cells of a column that is not in the plain style as plain numbers."""
    matches = [_SIGNS.fullmatch(cell.translate(_SPACES)) for cell in cells]
    bodies = [match[3] if match and match[1] != "(" else None for match in matches]
    styles = [style for style in _STYLES if all(b is not None and style.pattern.fullmatch(b) for b in bodies)]
    if not styles:
        _refuse(cells, bodies, where)
    signs = [(match[2] or match[4] or "") for match in matches if match]
    if (k := next((k for k, sign in enumerate(signs) if sign != signs[0]), None)) is not None:
        raise UserError(f"{where(k)}: {cells[k]!r} has another unit than {cells[0]!r} at {where.line(0)}")
    style = _decided(styles, [str(b) for b in bodies], cells, where, separator)
    return [f"{m[1]}{style.plain(m[3])}" for m in matches if m]


def _decided(styles: list[_Style], bodies: list[str], cells: list[str], where: Place, separator: str) -> _Style:
    """Return the one style in which all numbers can be read; a comma decides by the separator of the columns."""
    by_value: dict[tuple[str, ...], _Style] = {}
    for style in styles:
        by_value.setdefault(tuple(style.plain(body) for body in bodies), style)
    if len(by_value) == 1:
        return next(iter(by_value.values()))
    points = {style.point: style for style in by_value.values()}
    k = next(k for k, body in enumerate(bodies) if len({style.plain(body) for style in styles}) > 1)
    if "," in bodies[k] and separator in ";,":
        return points["," if separator == ";" else "."]
    readings = " or ".join(sorted({style.plain(bodies[k]) for style in styles}))
    right = "leave out separators of thousands, or write all decimals with more or fewer than 3 digits"
    raise UserError(f"{where(k)}: {cells[k]!r} can be {readings}; {right}")


def _refuse(cells: list[str], bodies: Sequence[str | None], where: Place) -> None:
    """Name the first cell that no number of the style of most others fits."""
    counts = [sum(1 for b in bodies if b is not None and style.pattern.fullmatch(b)) for style in _STYLES]
    best = _STYLES[int(np.argmax(counts))]
    k = next(k for k, b in enumerate(bodies) if b is None or not best.pattern.fullmatch(b))
    cell = cells[k]
    infinite = cell.lower().lstrip("+-") in ("inf", "infinity", "∞", "1.#inf")
    unfinished = PLAIN.fullmatch(cell) is not None and math.isfinite(float(cell))
    if unfinished:
        raise UserError(f"{where(k)}: {cell!r} is written in another way than {cells[0]!r} at {where.line(0)}")
    raise UserError(f"{where(k)}: {cell!r} is not a {'finite ' if infinite else ''}number; {_EMPTY}")
