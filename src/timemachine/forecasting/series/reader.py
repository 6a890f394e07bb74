"""Two columns of a table as a series: in order, without gaps, each fault named with its line."""

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.forecasting.series.axis import DateAxis, NumberAxis, date_axis, number_axis
from timemachine.forecasting.series.columns import hint_of_several
from timemachine.forecasting.series.config import Fill, Layout
from timemachine.forecasting.series.dates import Dates, looks_like_date, parse_digits, read_dates
from timemachine.forecasting.series.table import Table
from timemachine.forecasting.series.values import PLAIN, Place, is_number, read_numbers

Rows = NDArray[np.intp]
_INTEGER = re.compile(r"[-+]?\d{1,19}")
_NUM_GROUPS_CHECKED = 50
# More points than so many times the rows are a wrong step rather than gaps.
_MOST_FILLED = 10
_ROWS = "--steps rows takes the rows as consecutive"
_FILLS = "--fill linear or --fill previous fills gaps"


class Reader:
    """The columns of times and values of a table, read once, for one or several series in its rows.

    Args:
        table: the table.
        time: the column of times; None counts the rows.
        value: the column of values.
        layout: how to read them.
        groups: the rows of each series.

    Raises:
        UserError: a value is not a number, or a time is neither a number nor a date.
    """

    def __init__(self, table: Table, time: int | None, value: int, layout: Layout, groups: Sequence[Rows]) -> None:
        self._table, self._time, self._value = table, time, value
        self._rows, self._fill, self._groups = layout.steps == "rows", layout.fill, groups[:_NUM_GROUPS_CHECKED]
        self._x, self.decimals = read_numbers(table.columns[value], self._in_column(value), table.separator)
        self._dates: Dates | None = None
        self._numbers: NDArray[np.number] = np.arange(1, len(table.lines) + 1)
        self._time_decimals: int | None = 0
        if time is not None:
            self._read_times(table.columns[time], layout.date_format)
        # (n,) numbers, or dates in UTC.
        self._times: NDArray[Any] = self._numbers if self._dates is None else self._dates.utc

    def series(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64], DateAxis | NumberAxis]:
        """Return times, values and the axis of the series in some rows.

        Raises:
            UserError: there are fewer than two rows, or a value or time is missing or out of order.
        """
        rows = self._known(self._in_order(rows))
        if len(rows) < 2:
            raise UserError(f"{len(rows)} row{'s' if len(rows) != 1 else ''} with a value; at least 2 are needed")
        axis = self._axis(rows)
        position = axis.position
        self._check(rows, axis)
        x = np.full(int(position[-1]) + 1, np.nan)
        x[position] = self._x[rows]
        if len(x) > len(rows):
            axis = axis.filled()
        if isinstance(axis, NumberAxis):
            return axis.time, _without_gaps(x, self._fill), axis
        assert self._time is not None
        texts = axis.dates.written(axis.dates.local, axis.dates.offset_s) if len(x) > len(rows) else [""] * len(x)
        for k, row in zip(position.tolist(), rows.tolist(), strict=True):
            texts[k] = self._table.columns[self._time][row]
        return np.array(texts), _without_gaps(x, self._fill), axis

    def _in_column(self, column: int) -> Place:
        return Place(self._table.lines, self._table.names[column])

    def _read_times(self, texts: list[str], date_format: str | None) -> None:
        assert self._time is not None
        where = self._in_column(self._time)
        if date_format is None and not any(map(looks_like_date, (texts[0], texts[-1]))):
            plain = [PLAIN.fullmatch(text) is not None for text in texts]
            if all(plain):
                self._numbers, self._time_decimals = _numbers(texts, where, self._table.separator)
                self._dates = self._dates_of_digits(texts)
                return
            if all(map(is_number, texts)):
                self._numbers, self._time_decimals = read_numbers(texts, where, self._table.separator)
                return
            if sum(plain) > len(plain) / 2:
                row = plain.index(False)
                raise UserError(f"{where(row)}: {texts[row]!r} is not a number as {texts[plain.index(True)]!r} is")
        self._dates = read_dates(texts, where, self._is_regular, date_format)

    def _dates_of_digits(self, texts: list[str]) -> Dates | None:
        """Return the dates that numbers such as 20240131, 202401 or 2024.01 are, None if they are numbers."""
        whole, tenths = texts[0].isdecimal(), any(text[-2:-1] == "." for text in texts)
        for dates in parse_digits(texts):
            regular, likely = self._is_regular(dates), not self._numbers_are_regular()
            if (whole and (len(texts[0]) >= 8 or regular or likely)) or (regular and (likely or not tenths)):
                return dates
        return None

    def _numbers_are_regular(self) -> bool:
        return all(
            not number_axis(np.sort(self._numbers[rows]), self._time_decimals).num_faults
            for rows in self._groups
            if len(rows) > 1
        )

    def _is_regular(self, dates: Dates) -> bool:
        """Return whether most series have dates in equal steps."""
        regular = 0
        for rows in self._groups:
            own = dates.at(rows)
            own = own if own.utc[0] <= own.utc[-1] else dates.at(rows[::-1])
            regular += len(rows) > 1 and not date_axis(own).num_faults
        return regular > len(self._groups) / 2

    def _in_order(self, rows: Rows) -> Rows:
        """Return rows in the order of time: files may have the newest first."""
        return rows[::-1] if len(rows) and self._times[rows[0]] > self._times[rows[-1]] else rows

    def _known(self, rows: Rows) -> Rows:
        """Return rows from the first to the last value; those between must have one, or gaps be filled."""
        missing = np.isnan(self._x[rows])
        if not missing.any():
            return rows
        if self._fill is None:
            row = int(rows[missing.argmax()])
            text = self._table.columns[self._value][row]
            found = f" ({text!r})" if text else ""
            raise UserError(f"{self._in_column(self._value)(row)}: the value is missing{found}; {_FILLS}")
        known = np.flatnonzero(~missing)
        return rows[known[0] : known[-1] + 1] if len(known) else rows[:0]

    def _axis(self, rows: Rows) -> DateAxis | NumberAxis:
        if self._dates is not None:
            return date_axis(self._dates.at(rows), self._rows, holidays=self._fill is None)
        times = np.arange(1, len(rows) + 1) if self._time is None else self._numbers[rows]
        return number_axis(times, self._time_decimals, self._rows)

    def _check(self, rows: Rows, axis: DateAxis | NumberAxis) -> None:
        """Refuse times that do not rise, that lie between steps, or leave out steps that are not filled."""
        times = self._times[rows]
        steps = np.diff(axis.position)
        falls = times[1:] <= times[:-1]
        if self._dates is not None and not self._rows:
            falls &= steps != 1  # an hour that is there twice where clocks change
        if self._time is not None and falls.any():
            self._refuse_order(rows, int(falls.argmax()) + 1)
        gaps = np.concatenate([[False], steps > 1]) & (self._fill is None)
        faults = axis.off | gaps
        if faults.any():
            self._refuse_step(rows, axis, int(faults.argmax()))
        if axis.position[-1] >= _MOST_FILLED * len(rows) + 1000:
            filled = f"would be filled to {axis.position[-1] + 1:,}, with the step {axis.step.name}"
            raise UserError(f"{len(rows):,} rows {filled}; {_ROWS}")

    def _refuse_order(self, rows: Rows, i: int) -> NoReturn:
        assert self._time is not None
        before, text = self._text(rows[i - 1]), self._text(rows[i])
        hint = hint_of_several(self._table, self._time, self._value)
        first, second = sorted((int(rows[i - 1]), int(rows[i])))
        if self._times[rows[i]] == self._times[rows[i - 1]]:
            what = f"duplicate time {text!r}, first at line {self._table.lines[first]}"
        else:
            what = f"{text!r} is before {before!r} at line {self._table.lines[first]}; sort the rows by time"
            if self._dates is not None and "%y" in self._dates.form.format:
                what += " (years of two digits are read as 1930 to 2029)"
        raise UserError(f"{self._in_column(self._time)(second)}: {what}{hint}")

    def _refuse_step(self, rows: Rows, axis: DateAxis | NumberAxis, i: int) -> NoReturn:
        assert self._time is not None
        where, text = self._in_column(self._time)(int(rows[i])), self._text(rows[i])
        if isinstance(axis, NumberAxis) and 20_000 < axis.time[0] < 80_000 and axis.size > 25:
            raise UserError(
                f"{where}: {text!r} looks like a day number of Excel; format the column as dates in Excel"
            )
        if axis.off[i]:
            others = f"{self._text(rows[i - 1])!r} and the other times" if i else "the other times"
            raise UserError(
                f"{where}: {text!r} is not in equal steps (step: {axis.step.name}) with {others}; {_ROWS}"
            )
        number = int(axis.position[i] - axis.position[i - 1]) - 1
        missing = axis.after(i - 1, np.array([1]))[0]
        what = f"{missing} is missing" if number == 1 else f"{number:,} times are missing from {missing} on"
        before = self._text(rows[i - 1])
        raise UserError(
            f"{where}: a gap: {what} between {before!r} and {text!r} (step: {axis.step.name}); {_FILLS}, {_ROWS}"
        )

    def _text(self, row: np.intp) -> str:
        assert self._time is not None
        return self._table.columns[self._time][int(row)]


def _numbers(texts: list[str], where: Place, separator: str) -> tuple[NDArray[np.number], int | None]:
    if all(map(_INTEGER.fullmatch, texts)):
        integers = [int(text) for text in texts]
        if max(map(abs, integers)) <= np.iinfo(np.int64).max:
            return np.array(integers, np.int64), 0
    return read_numbers(texts, where, separator)


def _without_gaps(x: NDArray[np.float64], fill: Fill | None) -> NDArray[np.float64]:
    missing = np.isnan(x)
    if fill is None or not missing.any():
        return x
    known = np.flatnonzero(~missing)
    if fill == "linear":
        return np.where(missing, np.interp(np.arange(len(x)), known, x[known]), x)
    return x[np.maximum.accumulate(np.where(missing, 0, np.arange(len(x))))]
