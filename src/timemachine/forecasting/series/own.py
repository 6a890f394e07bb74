"""A time series of your own, from a CSV file as people have it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError, about
from timemachine.forecasting.series.axis import DateAxis, NumberAxis, date_axis, number_axis
from timemachine.forecasting.series.columns import (
    choose_columns,
    describe_columns,
    find_column,
    join_times,
    listed,
)
from timemachine.forecasting.series.config import Layout, SeriesParams, column_and_text
from timemachine.forecasting.series.dates import read_dates
from timemachine.forecasting.series.opening import read_text
from timemachine.forecasting.series.reader import Reader, Rows
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.series.steps import Step
from timemachine.forecasting.series.table import Table, read_table
from timemachine.forecasting.series.values import Place


@dataclass(frozen=True)
class OwnSeries(Series):
    """A series from a file.

    Attributes:
        seasons: lengths in steps of the seasons of the calendar, the shortest first: 12 for months, 24 and 168 for
            hours.
        decimals: the most decimals that are written in the values; None if a value has an exponent.
        axis: how the times go on.
        value_name: name of the column of values.
    """

    seasons: tuple[int, ...]
    decimals: int | None
    axis: DateAxis | NumberAxis
    value_name: str = ""

    @property
    def step(self) -> Step:
        """The step from one time to the next; its `name` is for messages."""
        return self.axis.step

    def future(self, num_steps: int) -> NDArray[np.generic]:
        """Return the times (num_steps,) that follow, in the form and the zone of the file.

        Raises:
            UserError: a time is beyond 64-bit numbers or the year 9999.
        """
        k = np.arange(1, num_steps + 1)
        return self.axis.after(-1, k)

    def in_iso(self) -> Series:
        """Return the series with dates in ISO 8601, which `Series.save` writes and `Series.load` reads."""
        return Series(self.time if isinstance(self.axis, NumberAxis) else np.array(self.axis.in_iso()), self.x)


def read_series(path: str | Path, layout: Layout | None = None) -> OwnSeries:
    """Read a series from a file.

    The separator of the columns, the form of numbers and dates, and compression are found by the content. Times
    are numbers or dates in equal steps, the newest first or last. Dates may also rise by months, or by work days,
    of which up to 10 in a row may be missing, for example the holidays of a stock exchange. Dates with a time zone
    lie in equal steps in this zone, or in UTC; without one, an hour may be missing or there twice where clocks
    change.

    Raises:
        UserError: the message names the file, and the line and the text that cannot be read.
    """
    layout = layout or Layout()
    with about(_shown(path)):
        table = _table(path, layout)
        time, value = choose_columns(table, layout, None if layout.where is None else layout.where[0])
        rows = np.arange(len(table.lines))
        return _series(Reader(table, time, value, layout, [rows]), rows, table.names[value])


def read_all(path: str | Path, layout: Layout, id_column: str) -> dict[str, "OwnSeries | UserError"]:
    """Read all series of a file with a column that tells them apart.

    Args:
        path: the file.
        layout: how to read it.
        id_column: the name of the column.

    Returns:
        The series by the texts of that column in the order of the file; for one that cannot be read, the error.

    Raises:
        UserError: the file cannot be read at all.
    """
    with about(_shown(path)):
        table = _table(path, layout)
        ids = table.columns[find_column(table, id_column)]
        groups: dict[str, list[int]] = {}
        for row, name in enumerate(ids):
            groups.setdefault(name, []).append(row)
        time, value = choose_columns(_rows_of(table, max(groups.values(), key=len)), layout, id_column)
        name = table.names[value]
        try:
            shared = Reader(table, time, value, layout, [np.array(rows) for rows in groups.values()])
        except UserError as fault:  # a text in one of the series, or in all of them
            shared, first_fault = None, fault
        found: dict[str, OwnSeries | UserError] = {}
        for key, rows in groups.items():
            try:
                if shared is None:
                    own, places = _rows_of(table, rows), np.arange(len(rows))
                    found[key] = _series(Reader(own, time, value, layout, [places]), places, name)
                else:
                    found[key] = _series(shared, np.array(rows), name)
            except UserError as error:
                found[key] = error
        if shared is None and all(isinstance(series, UserError) for series in found.values()):
            raise first_fault
        return found


def read_own_series(folder: str | Path, p: SeriesParams) -> OwnSeries:
    """Read the series that params name, from a file inside a folder, links resolved.

    Raises:
        UserError: as `read_series`; or the path leads out of the folder by a link, or is not a regular file.
    """
    path = Path(p.csv or "")
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(f"{path}: a link that leads out of {folder}/; put the file itself there")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file")  # reading a pipe could block forever
    where = None if p.where is None else column_and_text(p.where)
    return read_series(path, Layout(p.time_column, p.value_column, p.date_format, p.steps, p.fill, where))


def columns_of(path: str | Path) -> list[str]:
    """Return a line for each column of a file: its name, kind and first values.

    Raises:
        UserError: there is no table in the file.
    """
    with about(_shown(path)):
        return describe_columns(read_table(read_text(path)))


def calendar_seasons(time: NDArray[np.generic]) -> tuple[int, ...]:
    """Return the lengths in steps of the seasons that times (T,) imply, the shortest first.

    If the times are not in equal steps, the rows were read as consecutive.

    Args:
        time: numbers, or dates in ISO 8601, as `Series.load` returns them.
    """
    if len(time) < 2:
        return ()
    found: Callable[[bool], DateAxis | NumberAxis]
    if time.dtype.kind in "iuf":
        found = partial(number_axis, np.asarray(time, time.dtype), None)
    else:
        texts = [str(text) for text in time.tolist()]
        place = Place(range(1, len(texts) + 1), "time")
        found = partial(date_axis, read_dates(texts, place, lambda dates: not date_axis(dates).num_faults))
    axis = found(False)
    return (found(True) if axis.num_faults else axis).step.seasons


def _shown(path: str | Path) -> str:
    text = str(path)
    return text if "://" in text else text.replace(":/", "://", 1)


def _table(path: str | Path, layout: Layout) -> Table:
    table = read_table(read_text(path), [name for name in (layout.time, layout.value) if name])
    if layout.time is None or layout.time not in table.names:
        joined = join_times(table)
        table = table if layout.time is not None and layout.time not in joined.names else joined
    if layout.where is None:
        return table
    name, wanted = layout.where
    column = table.columns[find_column(table, name)]
    same = [row for row, text in enumerate(column) if text == wanted.strip()]
    same = same or [row for row, text in enumerate(column) if text.casefold() == wanted.strip().casefold()]
    if not same:
        raise UserError(f"column {name!r} has no {wanted!r}; it has {listed(list(dict.fromkeys(column)))}")
    return _rows_of(table, same)


def _rows_of(table: Table, rows: list[int]) -> Table:
    columns = [[column[row] for row in rows] for column in table.columns]
    return Table(table.names, columns, [table.lines[row] for row in rows], table.separator)


def _series(reader: Reader, rows: Rows, name: str) -> OwnSeries:
    time, x, axis = reader.series(rows)
    return OwnSeries(time, x, axis.step.seasons, reader.decimals, axis, name)
