"""A time series of the user's own, from a CSV file."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timemachine.series.source import Series

if TYPE_CHECKING:
    import pandas as pd

# The longest step of a series of work days: exchanges close for a week or more around their greatest holidays.
_MOST_WORK_DAYS = 10


def read_csv(path: str | Path, time_column: str, value_column: str) -> Series:
    """Read a series from two columns of a CSV file.

    Times are numbers or ISO 8601 dates (in UTC where they name no zone) and must rise in equal steps; for dates
    also in whole months, or in work days without weekends, where a few days in a row may be missing, as at
    holidays of a stock exchange: such observations count as consecutive. Values must be finite numbers.

    Raises:
        ValueError: the file is absent, not CSV, or a column, time or value is not as it must be; the message
            names the file, the column and the row of the first fault.
    """
    import pandas as pd  # here, because most stages read a series and few a CSV of the user's

    try:
        # The header is read as a row, so that it sets the number of fields of all others.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", header=None)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8: {error}") from None
    header = [str(name) for name in table.iloc[0]]
    table = table.iloc[1:].set_axis(header, axis=1)
    for column in (time_column, value_column):
        if (times := header.count(column)) != 1:
            has = ", ".join(map(repr, header))
            raise ValueError(
                f"{path}: {'no column' if not times else f'{times} columns'} {column!r}; it has {has}"
            )
    if len(table) < 2:
        raise ValueError(f"{path}: {len(table)} rows; at least 2 are needed")
    x = _numbers(table[value_column]).astype(np.float64)
    if (row := _first(~np.isfinite(x))) is not None:
        found = table[value_column].iloc[row]
        raise ValueError(f"{path}: column {value_column!r}, row {row + 1}: {found!r} is not a finite number")
    return Series(_times(table[time_column], path), x)


def _times(column: "pd.Series[str]", path: str | Path) -> NDArray[np.generic]:
    """Return the times, checked to rise in equal steps."""
    import pandas as pd

    where = f"{path}: column {str(column.name)!r}"
    times = _numbers(column)
    if np.isfinite(times).all():
        steps = np.diff(times).astype(np.float64)
        # What rounding does to times far from zero is no gap.
        rounding = 4 * np.finfo(np.float64).eps * float(np.abs(times).max()) if times.dtype.kind == "f" else 0.0
        if (row := _first(steps <= 0)) is not None:
            raise ValueError(f"{where}, row {row + 2}: {column.iloc[row + 1]!r} does not rise")
        typical = float(np.median(steps))
        if (row := _first(np.abs(steps - typical) > 1e-6 * typical + rounding)) is not None:
            found = f"{column.iloc[row]!r} to {column.iloc[row + 1]!r}"
            raise ValueError(f"{where}, row {row + 2}: a gap: {found}, where the step is {typical:g}")
        return times
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
    if (row := _first(dates.isna().to_numpy())) is not None:
        raise ValueError(f"{where}, row {row + 1}: {column.iloc[row]!r} is neither a number nor an ISO 8601 date")
    if (row := _first(dates.diff().iloc[1:].to_numpy() <= np.timedelta64(0))) is not None:
        raise ValueError(f"{where}, row {row + 2}: {column.iloc[row + 1]!r} does not rise")
    if (row := _date_gap(dates)) is not None:
        found = f"{column.iloc[row]!r} to {column.iloc[row + 1]!r}"
        raise ValueError(f"{where}, row {row + 2}: a gap: {found}; the dates must rise in equal steps")
    return column.to_numpy(dtype=str)


def _date_gap(dates: "pd.Series[pd.Timestamp]") -> int | None:
    """Return the row before the first gap, None if the dates rise in equal steps of time, months or work days."""
    steps = dates.diff().iloc[1:]
    months = dates.dt.year * 12 + dates.dt.month
    same_day = dates.dt.is_month_end.all() or dates.dt.day.nunique() == 1
    if steps.nunique() == 1 or (same_day and months.diff().iloc[1:].nunique() == 1):
        return None
    if (dates.dt.day_of_week < 5).all() and (dates.dt.normalize() == dates).all():
        days = dates.to_numpy().astype("datetime64[D]")
        return _first(np.busday_count(days[:-1], days[1:]) > _MOST_WORK_DAYS)
    return _first((steps != steps.median()).to_numpy())


def _numbers(column: "pd.Series[str]") -> NDArray[np.number]:
    """Return whole numbers as integers, others as floats, what is no number as NaN."""
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy()


def _first(faults: NDArray[np.bool_]) -> int | None:
    return int(faults.argmax()) if faults.any() else None
