"""Times that are in several columns, such as a date and a time of day, or a year and a month."""

import re
from collections.abc import Callable

from timemachine.forecasting.series.dates import looks_like_date
from timemachine.forecasting.series.forms import formats_of
from timemachine.forecasting.series.table import Table

CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]\.?m\.?)?", re.IGNORECASE)
# Names of columns in lower case, from the largest unit on.
_YEARS, _QUARTERS = ("year", "yr", "yyyy"), ("quarter", "qtr")
_MONTHS, _DAYS = (*_QUARTERS, "month", "mon", "mo", "mm", "period"), ("day", "dy", "dd", "dom")
_UNITS = (_YEARS, _MONTHS, _DAYS, ("hour", "hr", "hh"), ("minute", "min", "mi"))
_MONTH = re.compile(r"0?[1-9]|1[0-2]|[MQ]\d{1,2}|[A-Za-z]{3,9}\.?")


def join_times(table: Table) -> Table:
    """Return a table in which times in several columns are in one column.

    Joined are a column of days and one of times of day, and columns named year, month (or quarter), day, hour and
    minute, as far as they are there.
    """
    texts = [column[len(column) // 2] for column in table.columns]
    clocks = [i for i, text in enumerate(texts) if CLOCK.fullmatch(text)]
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
