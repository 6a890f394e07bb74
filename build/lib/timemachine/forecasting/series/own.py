"""A time series of your own, from a CSV file."""

import math
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.offsets import BaseOffset

from timemachine.base.errors import UserError
from timemachine.forecasting.series.source import Series

# The longest gap in a series of work days: stock exchanges close for a week or more around some holidays.
_MOST_WORK_DAYS = 10


def read_csv(path: str | Path, time_column: str, value_column: str) -> Series:
    """Read a series from two columns of a CSV file.

    Times are numbers or ISO 8601 dates (in UTC if they have no time zone) and must increase in equal steps. Dates
    may also increase by whole months or by work days. In a series of work days, up to 10 work days in a row may be
    missing, for example the holidays of a stock exchange; the observations around them count as consecutive.
    Values must be finite numbers.

    Raises:
        UserError: the file does not exist or is not CSV, or a column, time or value is invalid; the message names
            the file, the column and the row of the first error.
    """
    try:
        # The header is read as a row, so that every row must have as many fields.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", header=None)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8: {' '.join(str(error).split())}") from None
    header = [str(name) for name in table.iloc[0]]
    table = table.iloc[1:].set_axis(header, axis=1)
    for column in (time_column, value_column):
        if (times := header.count(column)) != 1:
            has = ", ".join(map(repr, header))
            raise UserError(f"{path}: {'no column' if not times else f'{times} columns'} {column!r}; it has {has}")
    if len(table) < 2:
        raise UserError(f"{path}: {len(table)} rows; at least 2 are needed")
    x = _numbers(table[value_column]).astype(np.float64)
    if (row := _first(~np.isfinite(x))) is not None:
        found = table[value_column].iloc[row]
        raise UserError(f"{path}: column {value_column!r}, row {row + 1}: {found!r} is not a finite number")
    return Series(_times(table[time_column], path), x)


def read_csv_within(folder: str | Path, path: str | Path, time_column: str, value_column: str) -> Series:
    """Read a series as `read_csv` does, from a file inside a folder, links resolved.

    Raises:
        UserError: as `read_csv`; or the path leads out of the folder by a link, or is not a regular file.
    """
    if not Path(path).resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(f"{path}: a link that leads out of {folder}/; put the file itself there")
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path}: not a file")  # reading a pipe could block forever
    return read_csv(path, time_column, value_column)


def _times(column: "pd.Series[str]", path: str | Path) -> NDArray[np.generic]:
    """Return the times; they must increase in equal steps."""
    where = f"{path}: column {str(column.name)!r}"
    times = _numbers(column)
    numeric = bool(np.isfinite(times).all())
    if numeric:
        if column.str.fullmatch(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])").all():
            raise UserError(f"{where}: {column.iloc[0]!r} is a number; write dates with hyphens, as 2024-01-31")
        steps = np.diff(times).astype(np.float64)
        falls, typical = steps <= 0, float(np.median(steps))
        # The rounding of times far from zero is not a gap.
        rounding = 4 * np.finfo(np.float64).eps * float(np.abs(times).max()) if times.dtype.kind == "f" else 0.0
        gap = _first(np.abs(steps - typical) > 1e-6 * typical + rounding)
        expected = f", where the step is {typical:g}"
    else:
        dates = _dates(column)
        if (row := _first(dates.isna().to_numpy())) is not None:
            found = column.iloc[row]
            raise UserError(f"{where}, row {row + 1}: {found!r} is neither a number nor an ISO 8601 date")
        falls = dates.diff().iloc[1:].to_numpy() <= np.timedelta64(0)
        gap, expected = _step(dates)[1], "; the dates must rise in equal steps"
    if (row := _first(falls)) is not None:
        raise UserError(f"{where}, row {row + 2}: {column.iloc[row + 1]!r} does not rise")
    if gap is not None:
        found = f"{column.iloc[gap]!r} to {column.iloc[gap + 1]!r}"
        raise UserError(f"{where}, row {gap + 2}: a gap: {found}{expected}")
    return times if numeric else column.to_numpy(dtype=str)


def _dates(column: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    """Return the dates in UTC, NaT where the text is not a date."""
    return pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)


def _step(dates: "pd.Series[pd.Timestamp]") -> tuple[pd.Timedelta | BaseOffset, int | None]:
    """Return the step between dates, and the row before the first gap; None if there is no gap.

    The step is a number of months (all dates are month ends, or the same day of the month, or the last day of a
    month that is shorter), a time, or one work day.
    """
    steps = dates.diff().iloc[1:]
    months = (dates.dt.year * 12 + dates.dt.month).diff().iloc[1:]
    month_ends = bool(dates.dt.is_month_end.all())
    same_day = (dates.dt.day == np.minimum(dates.dt.day.max(), dates.dt.days_in_month)).all()
    if (month_ends or same_day) and months.nunique() == 1 and months.iloc[0] > 0:
        num_months = int(months.iloc[0])
        return pd.offsets.MonthEnd(num_months) if month_ends else pd.DateOffset(months=num_months), None
    if steps.nunique() == 1:
        return steps.iloc[0], None
    if (dates.dt.day_of_week < 5).all() and (dates.dt.normalize() == dates).all():
        days = dates.to_numpy().astype("datetime64[D]")
        work_days = np.busday_count(days[:-1], days[1:])
        # Only daily series may leave out work days; a missing week or month is a gap.
        if np.median(work_days) == 1:
            return pd.offsets.BusinessDay(), _first(work_days > _MOST_WORK_DAYS)
    return steps.median(), _first((steps != steps.median()).to_numpy())


def future_times(series: Series, num_steps: int) -> NDArray[np.generic]:
    """Return the times (num_steps,) that follow a series read by `read_csv`, in the same step.

    Integers stay integers; other numbers keep the number of decimals of the series. Dates are ISO 8601 text,
    with a time of day (in UTC) if the series has it. Work days leave out weekends, but not holidays.

    Raises:
        UserError: a time is beyond 64-bit numbers or the year 9999 (2262 for dates with nanoseconds).
    """
    time = series.time
    if time.dtype.kind not in "iuf":
        return _future_dates(time, num_steps)
    first, last, num_gaps = time[0].item(), time[-1].item(), len(time) - 1
    future: NDArray[np.number]
    if time.dtype.kind in "iu":
        step = (last - first + num_gaps // 2) // num_gaps
        if last + num_steps * step > np.iinfo(np.int64).max:
            raise UserError(f"{num_steps} steps after the time {last} end beyond whole numbers of 64 bits")
        future = last + step * np.arange(1, num_steps + 1)
    else:
        decimals = -min(int(Decimal(repr(t)).as_tuple().exponent) for t in time.tolist())
        with np.errstate(over="ignore"):
            ahead = last + (last - first) / num_gaps * np.arange(1, num_steps + 1)
        future = np.array([round(t, decimals) if math.isfinite(t) else t for t in ahead.tolist()])
        if not (np.isfinite(future).all() and (np.diff(future, prepend=last) > 0).all()):
            raise UserError(f"{num_steps} steps after the time {last} end beyond what 64 bits tell apart")
    return future


def _future_dates(time: NDArray[np.generic], num_steps: int) -> NDArray[np.str_]:
    dates = _dates(pd.Series(time))
    step, last = _step(dates)[0], dates.iloc[-1]
    end = pd.Timestamp.max if last.unit == "ns" else pd.Timestamp("9999-12-31T23:59:59.999999")
    if num_steps > _num_steps_between(last, end, step):
        raise UserError(f"{num_steps} steps after {time[-1]} end beyond the year {end.year}")
    # Each counted from the last date: a date moved to the end of a short month must not move those after it.
    ahead = [(last + k * step).to_pydatetime(warn=False) for k in range(1, num_steps + 1)]
    length = max(len(text) for text in time.tolist())
    if length <= len("2024-01-31"):
        return np.array([date.isoformat()[:length] for date in ahead])
    zone = "Z" if re.search(r"[T ].*(Z|[+-][0-9:]+)$", str(time[-1])) else ""
    return np.array([date.isoformat() + zone for date in ahead])


def _num_steps_between(last: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta | BaseOffset) -> float:
    """Return how many steps after `last`, one of the dates of a series, are not after `end`."""
    if isinstance(step, pd.Timedelta):
        return (end - last) / step
    if isinstance(step, pd.offsets.BusinessDay):
        return int(np.busday_count(last.date(), end.date()))
    num_months = step.n if isinstance(step, pd.offsets.MonthEnd) else step.kwds["months"]
    # The last month may end after `end`.
    return int((12 * (end.year - last.year) + end.month - last.month - (end.year < 9999)) / num_months)


def _numbers(column: "pd.Series[str]") -> NDArray[np.number]:
    """Return integers if all are, else floats, NaN where the text is not a number."""
    return pd.to_numeric(column, errors="coerce").to_numpy()


def _first(faults: NDArray[np.bool_]) -> int | None:
    return int(faults.argmax()) if faults.any() else None
