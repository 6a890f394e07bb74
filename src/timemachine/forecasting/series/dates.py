"""Columns of dates: read in the form that fits all of them, day and month as the file decides."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.forecasting.series.forms import MONTHS, Form, expression, form_of, formats_of, month_of, offset_of
from timemachine.forecasting.series.steps import Times
from timemachine.forecasting.series.values import Place

_NAMES_A_DATE = ({"Y", "m"}, {"Y", "b"}, {"Y", "j"}, {"Y", "Q"}, {"Y", "E"}, {"Y", "N"}, {"G", "V"}, {"Y"})
# Runs of digits that might be dates are dates only in these years.
_NUMBER = re.compile(r"\d{6,}|\d+\.\d+")
_FIRST_YEAR, _LAST_YEAR = 1600, 2199


@dataclass(frozen=True)
class Dates:
    """A column of dates.

    Attributes:
        local: (n,) local times, to the microsecond.
        offset_s: (n,) seconds by which they are ahead of UTC; None if the form has no zone.
        form: the form that they are written in.
    """

    local: Times
    offset_s: NDArray[np.int64] | None
    form: Form

    @property
    def utc(self) -> Times:
        """(n,) the times in UTC; local times if the form has no zone."""
        return self.local if self.offset_s is None else self.local - self.offset_s.astype("timedelta64[s]")

    def at(self, rows: "NDArray[np.intp] | list[int]") -> "Dates":
        """Return the dates of some rows."""
        return Dates(self.local[rows], None if self.offset_s is None else self.offset_s[rows], self.form)

    def written(self, local: Times, offset_s: NDArray[np.int64] | None) -> list[str]:
        """Return other times in the same form."""
        offsets = [0] * len(local) if offset_s is None else offset_s.tolist()
        return [self.form.write(time, offset) for time, offset in zip(local.tolist(), offsets, strict=True)]


def looks_like_date(text: str) -> bool:
    """Return whether a text looks like a date that is no number."""
    return bool(formats_of(text)) and not _NUMBER.fullmatch(text)


def read_dates(
    texts: Sequence[str],
    where: Place,
    is_regular: Callable[[Dates], bool],
    date_format: str | None = None,
) -> Dates:
    """Return the dates of a column.

    A form is taken if it fits all texts. If several forms do, for example day before month and month before day,
    the one is taken whose dates rise or fall in equal steps.

    Args:
        texts: (n,) the column.
        where: the place of the texts in the file.
        is_regular: whether dates lie in equal steps.
        date_format: of `strptime`; None finds the form.

    Raises:
        UserError: a text is not a date, or can be several dates.
    """
    if date_format is not None:
        read, faulty = _parsed(texts, _checked(date_format))
        if read is None:
            raise UserError(f"{where(faulty)}: {texts[faulty]!r} is not a date in the form {date_format!r}")
        return read
    fitting, first_fault = [], 0
    for format in _candidates(texts):
        read, fault = _parsed(texts, format)
        if read is not None:
            fitting.append(read)
        else:
            first_fault = max(first_fault, fault)
    if not fitting:
        _refuse(texts, first_fault, where)
    distinct: dict[object, Dates] = {read.local.tobytes(): read for read in reversed(fitting)}
    if len(distinct) > 1:
        regular = [read for read in distinct.values() if is_regular(read)]
        distinct = {read.form.format: read for read in regular or distinct.values()}
    if len(distinct) > 1:
        _refuse_readings(texts, list(distinct.values())[::-1], where)
    return next(iter(distinct.values()))


def parse_digits(texts: Sequence[str]) -> list[Dates]:
    """Return the dates that a column of numbers may be: YYYYMMDD, YYYYMM and the like, or years with months."""
    found = [_parsed(texts, format)[0] for format in formats_of(texts[0])] if texts else []
    return [read for read in found if read is not None and _within_years(read)]


def _within_years(read: Dates) -> bool:
    years = read.local.astype("datetime64[Y]").astype(int) + 1970
    return bool(((years >= _FIRST_YEAR) & (years <= _LAST_YEAR)).all())


def _candidates(texts: Sequence[str]) -> list[str]:
    """Return the formats of some texts; the longest one has a time of day if any has."""
    examples = [max(texts, key=len), texts[0], texts[len(texts) // 2], texts[-1]]
    return list(dict.fromkeys(format for text in examples for format in formats_of(text)))


def _checked(format: str) -> str:
    codes = set(re.findall(r"%(.)", format.replace("%%", "")))
    named = {"b" if code == "B" else "Y" if code == "y" else code for code in codes}
    if not any(needed <= named for needed in _NAMES_A_DATE):
        raise UserError(f"--date-format: {format!r} has no year; for example '%d/%m/%Y' or '%Y-%m-%d %H:%M'")
    return format


def _parsed(texts: Sequence[str], format: str) -> tuple[Dates | None, int]:
    """Return the dates of texts in a format; or None, and the first text that has none."""
    pattern = expression(format, optional_time=True)
    parts = _parts_at_once(texts, pattern)
    if parts is None:
        matches = [pattern.fullmatch(text) for text in texts]
        if None in matches:
            return None, matches.index(None)
        parts = {code: [match[code] or "" for match in matches if match] for code in pattern.groupindex}
    local, valid = _local(parts, len(texts))
    if not valid.all():
        return None, int((~valid).argmax())
    offset_s = None
    if "z" in parts:
        offsets = {text: offset_of(text) for text in set(parts["z"])}
        offset_s = np.array([offsets[text] for text in parts["z"]], np.int64)
    return Dates(local, offset_s, form_of(format, parts)), len(texts)


def _parts_at_once(texts: Sequence[str], pattern: re.Pattern[str]) -> dict[str, list[str]] | None:
    """Return the parts of texts that differ from the first one in digits only, ten times as fast; else None."""
    match = pattern.fullmatch(texts[0])
    if match is None or not {"Q", "E", "u"}.isdisjoint(pattern.groupindex) or len(set(map(len, texts))) > 1:
        return None
    characters = np.array(texts).view(np.uint32).reshape(len(texts), -1)  # (n, width)
    is_digit = (characters >= ord("0")) & (characters <= ord("9"))
    if not ((characters == characters[0]) | (is_digit & is_digit[0])).all():
        return None

    def part(begin: int, end: int) -> list[str]:
        if begin == end:
            return [""] * len(texts)
        found: list[str] = np.ascontiguousarray(characters[:, begin:end]).view(f"U{end - begin}").ravel().tolist()
        return found

    return {code: part(*match.span(code)) for code in pattern.groupindex}


def _local(parts: dict[str, list[str]], n: int) -> tuple[Times, NDArray[np.bool_]]:
    """Return local times from the parts of texts, and which of them exist."""

    def number(code: str, default: int) -> NDArray[np.int64]:
        if code not in parts:
            return np.full(n, default)
        known = {text: int(text) if text else default for text in set(parts[code])}
        return np.array([known[text] for text in parts[code]], np.int64)

    year = number("Y", 0) if "Y" in parts else number("G", 0)
    if "y" in parts:
        # As Excel and Windows read them: 30 to 99 are of the last century.
        year = number("y", 0)
        year = year + np.where(year < 30, 2000, 1900)
    month, day = number("m", 1), number("d", 1)
    names = parts.get("b") or parts.get("B")
    if names:
        months = {name: month_of(name) for name in set(names)}
        month = np.array([months[name] for name in names], np.int64)
    month = month + 3 * (number("Q", 1) - 1) + 6 * (number("E", 1) - 1)
    valid = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    if "N" in parts:
        valid &= number("N", 0) == (year + 1) % 100
    months_since = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months_since.astype("datetime64[M]")
    dates = first.astype("datetime64[D]") + np.clip(day, 1, 31) - 1
    valid &= dates.astype("datetime64[M]") == first
    if "V" in parts:
        fourth = ((year - 1970).astype("datetime64[Y]")).astype("datetime64[D]") + 3
        monday = fourth - (fourth.astype(np.int64) + 3) % 7
        week, last = number("V", 1), ((year - 1969).astype("datetime64[Y]")).astype("datetime64[D]") + 3
        weeks = ((last - (last.astype(np.int64) + 3) % 7) - monday).astype(np.int64) // 7
        valid &= (week >= 1) & (week <= weeks)
        dates = monday + 7 * (week - 1) + number("u", 1) - 1
    if "j" in parts:
        new_year = (year - 1970).astype("datetime64[Y]")
        dates = new_year.astype("datetime64[D]") + number("j", 1) - 1
        valid &= (dates.astype("datetime64[Y]") == new_year) & (number("j", 1) >= 1)
    hour, minute, second = number("H", 0), number("M", 0), number("S", 0)
    if "I" in parts:
        twelve = number("I", 12)
        valid &= (twelve >= 1) & (twelve <= 12)
        hour = twelve % 12 + 12 * np.array([text[:1] in ("p", "P") for text in parts.get("p", [""] * n)])
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    micro = np.zeros(n, np.int64)
    if "f" in parts:
        micro = np.array([int(text.ljust(6, "0")[:6]) if text else 0 for text in parts["f"]], np.int64)
    seconds = hour * 3600 + minute * 60 + second
    return dates.astype("datetime64[us]") + (seconds * 1_000_000 + micro).astype("timedelta64[us]"), valid


def _refuse(texts: Sequence[str], row: int, where: Place) -> None:
    text = texts[row]
    if not text:
        raise UserError(f"{where(row)}: the date is missing")
    example = next((i for i, other in enumerate(texts) if i != row and formats_of(other)), None)
    if example is not None:
        form = f"{texts[example]!r} at {where.line(example)}"
        raise UserError(f"{where(row)}: {text!r} is not a date in the form of {form}")
    others = "; a form that is not known can be named with --date-format, for example '%d.%m.%Y %H:%M'"
    raise UserError(f"{where(row)}: {text!r} is neither a number nor a date{others}")


def _refuse_readings(texts: Sequence[str], readings: list[Dates], where: Place) -> None:
    """Name a date that has several meanings, and the formats that would decide."""
    first, second = readings[:2]
    row = int((first.local != second.local).argmax())
    said = [f"{_said(read.local[row].item())} ({read.form.format!r})" for read in readings]
    raise UserError(f"{where(row)}: {texts[row]!r} can be {' or '.join(said)}; choose one with --date-format")


def _said(time: datetime) -> str:
    return f"{time.day} {MONTHS[time.month - 1]} {time.year}"
