"""Which columns of a table have the times and the values."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from timemachine.base.errors import UserError
from timemachine.forecasting.series.config import Layout
from timemachine.forecasting.series.dates import looks_like_date, parse_digits
from timemachine.forecasting.series.forms import expression, formats_of
from timemachine.forecasting.series.table import Table
from timemachine.forecasting.series.values import PLAIN, is_missing, is_number

_NUM_SAMPLED = 200
_NUM_SHOWN = 3
# What tools name the numbers of rows.
_ROW_NUMBERS = (
    "",
    "unnamed: 0",
    "index",
    "id",
    "row",
    "rownames",
    "rowname",
    "row.names",
    "no",
    "nr",
    "#",
    "...1",
)
_TIME_NAMES = ("time", "t", "year", "date", "period", "month", "week", "day", "step", "hour", "ds", "timestamp")
_DIGITS = re.compile(r"\d{6,8}|\d{10}|\d{12}|\d{14}|\d{4}\.\d{1,2}|\d{1,2}\.\d{4}")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]\.?m\.?)?", re.IGNORECASE)
# Names of columns in lower case, from the largest unit on.
_YEARS, _QUARTERS = ("year", "yr", "yyyy"), ("quarter", "qtr")
_MONTHS, _DAYS = (*_QUARTERS, "month", "mon", "mo", "mm", "period"), ("day", "dy", "dd", "dom")
_UNITS = (_YEARS, _MONTHS, _DAYS, ("hour", "hr", "hh"), ("minute", "min", "mi"))
_MONTH = re.compile(r"0?[1-9]|1[0-2]|[MQ]\d{1,2}|[A-Za-z]{3,9}\.?")


def kind_of(column: Sequence[str]) -> str:
    """Return date, number, text or empty, by what most of a column's texts are."""
    sample = column if len(column) <= _NUM_SAMPLED else column[:: -(-len(column) // _NUM_SAMPLED)]
    known = [text for text in sample if not is_missing(text)]
    if not known:
        return "empty"
    dates = sum(map(looks_like_date, known))
    if dates >= len(known) / 2:
        return "date"
    numbers = sum(map(is_number, known))
    return "number" if numbers >= len(known) / 2 else "text"


def find_column(table: Table, name: str) -> int:
    """Return the column of a name; spaces around it and its case matter only where they tell columns apart.

    Raises:
        UserError: there is no such column, or there are several.
    """
    for normal in (str, str.strip, _plain):
        found = [i for i, known in enumerate(table.names) if normal(known) == normal(name)]
        if found:
            if len(found) > 1:
                raise UserError(f"{len(found)} columns {name!r}; it has {listed(table.names)}")
            return found[0]
    raise UserError(f"no column {name!r}; it has {listed(table.names)}")


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def choose_columns(table: Table, layout: Layout, telling: str | None = None) -> tuple[int | None, int]:
    """Return the columns of times and of values.

    Where they are not named, there must be one column of dates, or of numbers that rise in equal steps, and one
    other column of numbers. Numbers of rows, such as those of R, count as neither if there is a column of dates.

    Args:
        table: the table.
        layout: the names of the columns, and the form of the dates, where they are known. If rows are consecutive,
            there may be no column of times.
        telling: the name of the column that tells several series apart, which has neither times nor values.

    Raises:
        UserError: a column is not there, or what the file has does not decide.
    """
    kinds = [kind_of(column) for column in table.columns]
    if telling is not None:
        kinds[find_column(table, telling)] = "id"
    if layout.date_format is not None:
        pattern = expression(layout.date_format, optional_time=True)
        dates = [pattern.fullmatch(column[0]) is not None for column in table.columns]
        if any(dates):
            kinds = ["date" if is_date else kind for is_date, kind in zip(dates, kinds, strict=True)]
    value = None if layout.value is None else find_column(table, layout.value)
    if layout.time is None:
        time = _time_of(table, kinds, value, layout.steps == "rows")
    else:
        time = find_column(table, layout.time)
    if time is not None and time == value:
        raise UserError(f"--time and --value are both {table.names[time]!r}")
    return time, _value_of(table, kinds, time) if value is None else value


def _time_of(table: Table, kinds: list[str], value: int | None, rows: bool) -> int | None:
    others = [i for i in range(len(kinds)) if i != value]
    dates = [i for i in others if kinds[i] == "date"]
    if not dates:
        dates = [i for i in others if kinds[i] == "number" and _digits_are_dates(table.columns[i])]
    if not dates:
        numbers = [i for i in others if kinds[i] == "number" and _rises_equally(table.columns[i])]
        named = [i for i in others if kinds[i] == "number" and _plain(table.names[i]) in _TIME_NAMES]
        named = [i for i in named if _is_ordered(table.columns[i])]
        without = [i for i in numbers if not _is_row_number(table, i)]
        dates = named if len(named) == 1 else without or numbers
        if len(others) == 1 and value is None:
            dates = []  # the only column has the values
    if len(dates) > 1:  # such as the date of the file, in each row
        dates = [i for i in dates if len(set(table.columns[i])) > 1] or dates
    texts = [i for i in others if kinds[i] == "text"]
    if not dates and len(texts) == 1 and len(kinds) > 1 and not rows:
        dates = texts  # its faults are named
    if len(dates) == 1:
        return dates[0]
    if not dates and rows:
        return None
    if not dates:
        raise UserError(
            f"no column has dates, or numbers in equal steps; it has {listed(table.names)}; "
            "name it with --time, or count the rows with --steps rows"
        )
    names = [table.names[i] for i in dates]
    raise UserError(f"several columns may be the times: {listed(names)}; choose one with --time")


def _value_of(table: Table, kinds: list[str], time: int | None) -> int:
    numbers = [i for i, kind in enumerate(kinds) if kind == "number" and i != time]
    if len(numbers) > 1:
        numbers = [i for i in numbers if not _is_row_number(table, i)] or numbers
    texts = [i for i, kind in enumerate(kinds) if kind != "number" and i != time]
    if not numbers and len(texts) == 1:
        return texts[0]  # its faults are named
    if len(numbers) == 1:
        return numbers[0]
    if not numbers:
        raise UserError(f"no column of numbers beside the times; it has {listed(table.names)}")
    names = [table.names[i] for i in numbers]
    raise UserError(f"several columns have numbers: {listed(names)}; choose one with --value")


def _digits_are_dates(column: Sequence[str]) -> bool:
    """Return whether numbers are dates such as 20240131, 202401, 2024.01 or 01.2024."""
    if not all(map(_DIGITS.fullmatch, column)) or not parse_digits(column[:1]):
        return False
    steps = [np.diff(dates.local).astype(np.int64) for dates in parse_digits(column)]
    # 2024.01 may also be a value: months do not rise and fall.
    return any(column[0].isdecimal() or (step >= 0).all() or (step <= 0).all() for step in steps)


def _is_row_number(table: Table, i: int) -> bool:
    column = table.columns[i]
    start = 0 if column[0] == "0" else 1
    named = table.names[i].strip().casefold() in _ROW_NUMBERS
    return named and column == [str(k) for k in range(start, start + len(column))]


def _differences(column: Sequence[str]) -> list[float]:
    """Return the differences between numbers, without other texts."""
    sample = [text.replace(",", ".") for text in column[:_NUM_SAMPLED]]
    return [float(b) - float(a) for a, b in pairwise(filter(PLAIN.fullmatch, sample))]


def _is_ordered(column: Sequence[str]) -> bool:
    steps = _differences(column)
    return bool(steps) and (min(steps) > 0 or max(steps) < 0)


def _rises_equally(column: Sequence[str]) -> bool:
    steps = _differences(column)
    typical = sorted(steps)[len(steps) // 2] if steps else 0.0
    near = sum(abs(step - typical) <= 0.1 * abs(typical) for step in steps)
    return typical != 0 and near >= 0.9 * len(steps)


def describe_columns(table: Table) -> list[str]:
    """Return a line for each column: its name, kind, number of different values and first values."""
    width = max(map(len, map(repr, table.names)))
    lines = []
    for name, column in zip(table.names, table.columns, strict=True):
        kind = kind_of(column)
        if kind == "number" and _digits_are_dates(column):
            kind = "date"
        distinct = list(dict.fromkeys(column))
        shown = ", ".join(distinct[:_NUM_SHOWN]) + (", …" if len(distinct) > _NUM_SHOWN else "")
        count = f", {len(distinct)} values" if kind == "text" else ""
        gaps = sum(map(is_missing, column))
        missing = f", {gaps} missing" if gaps else ""
        lines.append(f"{name!r:<{width}}  {kind}{count}{missing}: {shown}")
    return lines


def hint_of_several(table: Table, time: int | None, value: int) -> str:
    """Return how to choose one of several series, if a column tells them apart; else an empty text."""
    times = table.columns[time] if time is not None else [""] * len(table.lines)
    best, most_pairs = "", len(set(times))
    for i, (name, column) in enumerate(zip(table.names, table.columns, strict=True)):
        distinct = list(dict.fromkeys(column))
        texts = distinct[:5]
        if i in (time, value) or not 1 < len(distinct) <= len(times) / 2 or any(map(looks_like_date, texts)):
            continue
        num_pairs = len(set(zip(column, times, strict=True)))  # of several such columns, each tells a part apart
        if num_pairs > most_pairs and not any(map(_CLOCK.fullmatch, texts)):
            most_pairs = num_pairs
            best = (
                f"; column {name!r} has {len(distinct)} values: choose one with --where {_shell(name, texts[0])}, "
                f"or forecast all with --all --id {_shell(name)}"
            )
    return best


def _shell(*texts: str) -> str:
    text = "=".join(texts)
    return f"'{text}'" if " " in text else text


def listed(names: Sequence[str]) -> str:
    """Return names for a message."""
    shown = ", ".join(map(repr, names[:20]))
    return f"{shown}, … ({len(names)} in all)" if len(names) > 20 else shown


def join_times(table: Table) -> Table:
    """Return a table in which times in several columns are in one column.

    Joined are a column of days and one of times of day, and columns named year, month (or quarter), day, hour and
    minute, as far as they are there.
    """
    texts = [column[len(column) // 2] for column in table.columns]
    clocks = [i for i, text in enumerate(texts) if _CLOCK.fullmatch(text)]
    dates = [i for i, text in enumerate(texts) if looks_like_date(text)]
    days = [i for i in dates if not any("%H" in format or "%I" in format for format in formats_of(texts[i]))]
    if len(clocks) == 1 and len(days) == 1:
        return _joined(table, [days[0], clocks[0]], "{} {}".format)
    names = [name.strip().casefold() for name in table.names]
    units: list[int] = []
    for unit in _UNITS:
        found = [i for i, name in enumerate(names) if name in unit]
        if not found:
            break
        units.append(found[0])
    if dates or len(units) < 2 or not (texts[units[0]].isdecimal() and _MONTH.fullmatch(texts[units[1]])):
        return table
    form = ("{}-{:0>2}", "{}-{:0>2}-{:0>2}", "{}-{:0>2}-{:0>2} {:0>2}:00", "{}-{:0>2}-{:0>2} {:0>2}:{:0>2}")
    quarters = names[units[1]] in _QUARTERS and texts[units[1]].isdecimal()
    return _joined(table, units, ("{}-Q{}" if quarters and len(units) == 2 else form[len(units) - 2]).format)


def _joined(table: Table, parts: list[int], join: Callable[..., str]) -> Table:
    """Return a table with one column for several, in the place of the first."""
    names, columns = list(table.names), list(table.columns)
    names[parts[0]] = " ".join(table.names[i] for i in parts)
    columns[parts[0]] = [join(*texts) for texts in zip(*(table.columns[i] for i in parts), strict=True)]
    kept = [i for i in range(len(names)) if i not in parts[1:]]
    return Table([names[i] for i in kept], [columns[i] for i in kept], table.lines, table.separator)
