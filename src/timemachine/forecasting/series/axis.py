"""The times of a series: how they go on, and how they are written."""

from dataclasses import dataclass, replace
from datetime import tzinfo
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.forecasting.series.dates import Dates
from timemachine.forecasting.series.forms import Form
from timemachine.forecasting.series.steps import Grid, Times, find_grid, find_rows, span
from timemachine.forecasting.series.zones import offsets_at, to_local, zone_of, zone_of_midnights

_END = np.datetime64("9999-12-31T00:00:00", "us")
_ISO_DAY, _ISO_MONTH, _ISO_TIME = Form("%Y-%m-%d"), Form("%Y-%m"), Form("%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True)
class DateAxis(Grid):
    """Dates in steps.

    Attributes:
        dates: the dates as they are written.
        counted: (n,) the times in which the steps are counted: local times, or UTC.
        zone: of the dates; None if they have no offset from UTC.
        counts: in which times the steps are counted: local ones, UTC, or the local ones of dates written in UTC.
    """

    dates: Dates
    counted: Times
    zone: tzinfo | None
    counts: Literal["local", "utc", "local of utc"]

    def after(self, start: int, k: NDArray[np.int64]) -> NDArray[np.str_]:
        """Return the times k steps after the row `start`, as the file writes them.

        Raises:
            UserError: a time is beyond the year 9999.
        """
        return np.array(self.dates.written(*self._at(start, k)))

    def filled(self) -> "DateAxis":
        """Return the axis with a date for each step."""
        pieces = [(self.counted[:1], self.dates.at([0]))]
        for i, size in enumerate(np.diff(self.position).tolist(), 1):
            if size > 1:
                k = np.arange(1, size)
                local, offsets = self._at(i - 1, k)
                pieces.append((self.step.at(self.counted[i - 1], k), Dates(local, offsets, self.dates.form)))
            pieces.append((self.counted[i : i + 1], self.dates.at([i])))
        counted = np.concatenate([times for times, _ in pieces])
        local = np.concatenate([dates.local for _, dates in pieces])
        offsets_s = [dates.offset_s for _, dates in pieces if dates.offset_s is not None]
        dates = Dates(local, np.concatenate(offsets_s) if offsets_s else None, self.dates.form)
        n = len(counted)
        return DateAxis(self.step, np.arange(n), np.zeros(n, bool), dates, counted, self.zone, self.counts)

    def in_iso(self) -> list[str]:
        """Return the times of all rows in ISO 8601."""
        local, offsets, format = self.dates.local, self.dates.offset_s, self.dates.form.format
        if "%H" in format or "%I" in format:
            form = Form(_ISO_TIME.format + "%z", samples={"z": "+00:00"}) if offsets is not None else _ISO_TIME
        else:
            form = _ISO_DAY if any(code in format for code in ("%d", "%j", "%V", "%Q", "%E", "%N")) else _ISO_MONTH
        return replace(self.dates, form=form).written(local, offsets)

    def _at(self, start: int, k: NDArray[np.int64]) -> tuple[Times, NDArray[np.int64] | None]:
        counted = self.step.at(self.counted[start], k)
        if (counted > _END).any():
            last = self.dates.at([start])
            shown = last.written(last.local, last.offset_s)[0]
            raise UserError(f"{len(k)} steps after {shown} end beyond the year 9999")
        if self.zone is None:
            return counted, None
        if self.counts == "utc":
            local = to_local(counted, self.zone)
            return local, (local - counted).astype("timedelta64[s]").astype(np.int64)
        offsets = offsets_at(counted, self.zone)
        if self.counts == "local":
            return counted, offsets
        return counted - offsets.astype("timedelta64[s]"), np.zeros(len(k), np.int64)


def date_axis(dates: Dates, rows: bool = False, holidays: bool = True) -> DateAxis:
    """Return the axis of rising dates.

    Args:
        dates: of all rows, at least 2.
        rows: whether rows are consecutive, whatever their dates.
        holidays: whether missing work days are holidays.
    """

    local, offsets = dates.local, dates.offset_s
    of_day = local - local.astype("datetime64[D]")

    def counted(times: Times, zone: tzinfo | None, counts: Literal["local", "utc", "local of utc"]) -> DateAxis:
        grid = find_rows(times) if rows else find_grid(times, zone is None, holidays)
        return DateAxis(grid.step, grid.position, grid.off, dates, times, zone, counts)

    if offsets is None:
        return counted(local, None, "local")
    by_local = counted(local, zone_of(local, offsets), "local")
    if (offsets != offsets[0]).any():
        by_utc = counted(dates.utc, by_local.zone, "utc")
        whole_days = rows or np.mean(of_day == of_day[0]) > 0.5
        return by_local if by_local.num_faults <= by_utc.num_faults and whole_days else by_utc
    if by_local.num_faults and not offsets.any() and (zone := zone_of_midnights(local)) is not None:
        return min(
            by_local, counted(to_local(local, zone), zone, "local of utc"), key=lambda axis: axis.num_faults
        )
    return by_local


@dataclass(frozen=True)
class NumberAxis(Grid):
    """Numbers in steps.

    Attributes:
        time: (n,) int64 or float64.
        size: of the step.
        per_unit: how many steps are a year of times such as 1949.083; 0 for other times.
        decimals: of the times as written; None: unknown.
    """

    time: NDArray[np.number]
    size: float
    per_unit: int
    decimals: int | None

    def filled(self) -> "NumberAxis":
        """Return the axis with a time for each step."""
        time = np.full(int(self.position[-1]) + 1, self.time[0])
        for i, size in enumerate(np.diff(self.position).tolist()):
            time[self.position[i] : self.position[i] + size] = np.r_[
                self.time[i : i + 1], self.after(i, np.arange(1, size))
            ]
        time[-1] = self.time[-1]
        n = len(time)
        return replace(self, position=np.arange(n), off=np.zeros(n, bool), time=time)

    def after(self, start: int, k: NDArray[np.int64]) -> NDArray[np.number]:
        """Return the times k steps after the row `start`.

        Raises:
            UserError: a time is beyond 64-bit numbers, or does not differ from the one before.
        """
        last, num_steps = self.time[start].item(), len(k)
        if self.time.dtype.kind in "iu":
            whole = max(round(self.size), 1)
            if last + num_steps * whole > np.iinfo(np.int64).max:
                raise UserError(f"{num_steps} steps after the time {last} end beyond whole numbers of 64 bits")
            return last + whole * k
        decimals = self.decimals
        if decimals is None:
            decimals = -min(int(Decimal(repr(t)).as_tuple().exponent) for t in self.time.tolist())
        with np.errstate(over="ignore"):
            ahead = last + self.size * k
        if self.per_unit:  # 1949.083 stands for 1949 + 1/12
            exact = np.asarray(self.time * self.per_unit, np.float64)
            phase = float(np.mean(exact - np.rint(exact)))
            phase = phase if abs(phase) > self.per_unit * 10.0**-decimals else 0.0
            ahead = (round(last * self.per_unit - phase) + k + phase) / self.per_unit
        times = np.array([round(t, decimals) if np.isfinite(t) else t for t in ahead.tolist()])
        if not (np.isfinite(times).all() and (np.diff(times, prepend=last) > 0).all()):
            raise UserError(f"{num_steps} steps after the time {last} end beyond what 64 bits tell apart")
        return times


def number_axis(time: NDArray[np.number], decimals: int | None, rows: bool = False) -> NumberAxis:
    """Return the axis of rising numbers (n,), n ≥ 2."""
    diffs = np.diff(time).astype(np.float64)
    typical = float(np.median(diffs))
    if rows or not typical > 0:
        return _numbers_axis(np.arange(len(time)), np.zeros(len(time), bool), time, typical, decimals)
    tolerance = np.zeros(len(diffs))
    if time.dtype.kind == "f":
        # The rounding of times far from zero is not a gap, nor that of the decimals as they are written.
        rounding = 4 * np.finfo(np.float64).eps * float(np.abs(time).max())
        written = 1.5 * 10.0**-decimals if decimals is not None else 0.0
        tolerance += 1e-6 * typical + rounding + (written if written < 0.2 * typical else 0.0)
    steps = np.clip(np.rint(diffs / typical), 1, 1e12)  # sums of larger ones overflow
    off = np.concatenate([[False], np.abs(diffs - steps * typical) > tolerance * steps])
    position = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    size = typical if off.any() else float(time[-1] - time[0]) / float(position[-1])
    return _numbers_axis(position, off, time, size, decimals)


def _numbers_axis(
    position: NDArray[np.int64],
    off: NDArray[np.bool_],
    time: NDArray[np.number],
    size: float,
    decimals: int | None,
) -> NumberAxis:
    """Return an axis with the seasons of years with decimals, such as 1949.083, and of Unix times."""
    first = float(time[0])
    per_unit = next((n for n in (2, 4, 12) if 1000 <= first <= 2500 and abs(size * n - 1) < 0.01), 0)
    seasons: tuple[int, ...] = (per_unit,) if per_unit else ()
    for unit, low in ((1e6, 3e8), (1e3, 3e11), (1, 3e14), (1e-3, 3e17)):  # seconds to nanoseconds, of 1979 to 2103
        if low <= first <= 14 * low and size * unit >= 1_000_000:
            seasons = span(round(size * unit)).seasons
    step = replace(span(1), name=f"{size:.10g}", seasons=seasons)  # numbers go on in `after`
    return NumberAxis(step, position, off, time, size, per_unit, decimals)
