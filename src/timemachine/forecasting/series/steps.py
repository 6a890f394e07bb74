"""The step between dates: months, work days or a length of time; and where dates miss it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.datetime64]
_SECOND, _HOUR, _DAY, _WEEK = 10**6, 3600 * 10**6, 86400 * 10**6, 7 * 86400 * 10**6
_UNITS = {"week": _WEEK, "day": _DAY, "hour": _HOUR, "minute": 60 * _SECOND, "second": _SECOND}
_MONTHS = {1: "month", 3: "quarter", 6: "half-year", 12: "year"}
# The longest gap in a series of work days: stock exchanges close for a week or more around some holidays.
_MOST_WORK_DAYS = 10
# Clocks change on a Sunday before 05:00, in these months.
_MONTHS_OF_CHANGE = (2, 3, 4, 9, 10, 11)


@dataclass(frozen=True)
class Step:
    """A step from one time to the next.

    Attributes:
        name: for messages, for example "month" or "2 hours".
        seasons: lengths of the seasons of the calendar in steps, the shortest first.
        at: returns the times (n,) that are k (n,) steps after a time of the series.
    """

    name: str
    seasons: tuple[int, ...]
    at: Callable[[np.datetime64, NDArray[np.int64]], Times]


def span(length: int, shift: int = 0) -> Step:
    """Return a step of a length in microseconds; `shift` moves an unusual last time to where the others would be.

    Its seasons are a day and a week, or a year of 52 weeks.
    """
    unit, size = next(((u, s) for u, s in _UNITS.items() if length % s == 0), ("second", _SECOND))
    name = unit if length == size else f"{length / size:g} {unit}s"
    longer = (_DAY, _WEEK) if length < _WEEK else (52 * _WEEK,) if length % _WEEK == 0 else ()
    seasons = (season // length for season in longer if season % length == 0 and length < season)
    return Step(name, tuple(seasons), partial(_after_span, length, shift))


def _after_span(length: int, shift: int, start: np.datetime64, k: NDArray[np.int64]) -> Times:
    return start + (k * length + shift).astype("timedelta64[us]")


def _months_step(number: int, anchor: str, day: int) -> Step:
    seasons = (12 // number,) if 12 % number == 0 and number < 12 else ()
    return Step(_MONTHS.get(number, f"{number} months"), seasons, partial(_after_months, number, anchor, day))


def _after_months(number: int, anchor: str, day: int, start: np.datetime64, k: NDArray[np.int64]) -> Times:
    days = _days_of(start.astype("datetime64[M]") + number * k, anchor, day)
    return days.astype("datetime64[us]") + (start - start.astype("datetime64[D]"))


def _after_work_days(start: np.datetime64, k: NDArray[np.int64]) -> Times:
    day = start.astype("datetime64[D]")
    return np.busday_offset(day, k).astype("datetime64[us]") + (start - day)


def _slots_step(slots: NDArray[np.int64]) -> Step:
    """Return the step between times of the week, in microseconds since Monday 00:00.

    Its seasons are the rows of a day, if all days have as many, and of a week.
    """
    per_day = set(np.unique(slots // _DAY, return_counts=True)[1].tolist())
    seasons = {*(per_day if len(per_day) == 1 else ()), len(slots)} - {1}
    return Step("row", tuple(sorted(seasons)), partial(_after_slots, slots))


def _after_slots(slots: NDArray[np.int64], start: np.datetime64, k: NDArray[np.int64]) -> Times:
    monday = _monday(np.array([start]))[0]
    first = np.searchsorted(slots, int((start - monday).astype(np.int64)), side="right") - 1
    weeks, slot = np.divmod(first + k, len(slots))
    return monday + (weeks * _WEEK + slots[slot]).astype("timedelta64[us]")


@dataclass(frozen=True)
class Grid:
    """Times on steps.

    Attributes:
        step: the step.
        position: (n,) the number of steps from the first time to each.
        off: (n,) whether a time lies between two steps.
    """

    step: Step
    position: NDArray[np.int64]
    off: NDArray[np.bool_]

    @property
    def num_faults(self) -> int:
        """Number of times between two steps, and of gaps."""
        return int(self.off.sum() + (np.diff(self.position) != 1).sum())


def find_grid(local: Times, naive: bool = True, holidays: bool = True) -> Grid:
    """Return the step that dates (n,), n ≥ 2, fit best.

    Args:
        local: rising dates; in local time an hour may be there twice.
        naive: whether the dates have no offset from UTC, so that a change of clock hides an hour.
        holidays: whether up to 10 missing work days in a row are holidays, and the days around them consecutive.
    """
    found = [_months(local), _spans(local, naive), _work_days(local, holidays)]
    return min((grid for grid in found if grid is not None), key=lambda grid: grid.num_faults)


def find_rows(local: Times) -> Grid:
    """Return rows as consecutive, and the step in which they usually follow each other.

    That is a number of months if each has one row; the usual times of a week if the rows are less than a week
    apart, such as those of six-day weeks or trading hours; else the median length.
    """
    n = len(local)
    diffs = np.diff(local).astype(np.int64)
    median = max(int(np.median(diffs)), 1)
    months = _months(local)
    step = span(median)
    if months is not None and (np.diff(months.position) == 1).all():
        step = months.step
    elif median >= _WEEK and median % _DAY == 0:
        weekdays = (local.astype("datetime64[D]").astype(np.int64) + 3) % 7
        shift = (_mode(weekdays) - int(weekdays[-1]) + 3) % 7 - 3
        step = span(median, shift * _DAY if median % _WEEK == 0 else 0)
    elif median < _WEEK:
        slots = _usual_slots(local)
        step = _slots_step(slots) if slots.size else step
    return Grid(step, np.arange(n), np.zeros(n, bool))


def _usual_slots(local: Times) -> NDArray[np.int64]:
    """Return the times of the week, since Monday 00:00, that at least half of the weeks have.

    In less than a week they are the times that half of the days have, on all days, or from Monday to Friday.
    None are returned if few rows have them, or all rows are of one day.
    """
    monday = _monday(local)
    num_weeks, days = len(np.unique(monday)), local.astype("datetime64[D]")
    of_week = (local - monday).astype(np.int64)
    slots, counts = np.unique(of_week, return_counts=True)
    usual = slots[counts >= num_weeks / 2]
    if local[-1] - local[0] < np.timedelta64(_WEEK, "us"):
        of_day, counts = np.unique(of_week % _DAY, return_counts=True)
        of_day = of_day[counts >= len(np.unique(days)) / 2]
        num_days = 7 if (of_week >= 5 * _DAY).any() else 5
        usual = (np.arange(num_days)[:, None] * _DAY + of_day).ravel()
    is_usual = len(np.unique(days)) > 1 and np.isin(of_week, usual).mean() >= 0.6
    return usual if is_usual else usual[:0]


def _months(local: Times) -> Grid | None:
    dates = local.astype("datetime64[D]")
    months = local.astype("datetime64[M]")
    index = months.astype(np.int64)
    number = _mode(np.diff(index))
    if number < 1 or np.median(np.diff(local).astype(np.int64)) < 27 * _DAY:
        return None
    day = _usual_day(dates, months)
    # Month ends come before the same day: those of the shorter months are both.
    misses = {
        anchor: _days_of(months, anchor, day) != dates for anchor in ("end", "day", "work end", "work start")
    }
    anchor = min(misses, key=lambda anchor: int(misses[anchor].sum()))
    of_day = local - dates
    position, rest = np.divmod(index - index[0], number)
    return Grid(_months_step(number, anchor, day), position, misses[anchor] | (rest != 0) | (of_day != of_day[0]))


def _usual_day(dates: NDArray[np.datetime64], months: NDArray[np.datetime64]) -> int:
    """Return the usual day of the month; the last day of a shorter month stands for a later one."""
    days = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    ends = dates + 1 == (months + 1).astype("datetime64[D]")
    usual = _mode(days)
    later = days[days > usual]
    # 30 September, 30 October, 28 February: the 30th, although the 28th may be as frequent.
    return int(later.max()) if later.size and (ends | (days == days.max())).all() else usual


def _days_of(months: NDArray[np.datetime64], anchor: str, day: int) -> NDArray[np.datetime64]:
    first, last = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]") - 1
    if anchor == "day":
        return np.minimum(first + (day - 1), last)
    if anchor == "end":
        return last
    return np.busday_offset(*((last, 0, "backward") if anchor == "work end" else (first, 0, "forward")))


def _spans(local: Times, naive: bool) -> Grid:
    us = (local - local[0]).astype(np.int64)
    diffs = np.diff(us)
    length = max(_mode(diffs), 1)
    if naive and length < _DAY and (length % _HOUR == 0 or _HOUR % length == 0):
        us = us + np.concatenate([[0], np.cumsum(_changes_of_clock(local, diffs, length))])
    rest = us % length
    phase = _mode(rest)
    position = (us - phase) // length
    return Grid(span(length), position - position[0], rest != phase)


def _changes_of_clock(local: Times, diffs: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return what a change of clock hides between two times: an hour more, or an hour less."""
    after = local[1:].astype("datetime64[D]")
    at_night = (local[1:] - after).astype(np.int64) < 5 * _HOUR + max(length - _HOUR, 0)
    sunday = (after.astype(np.int64) + 4) % 7 == 0
    in_season = np.isin(after.astype("datetime64[M]").astype(np.int64) % 12 + 1, _MONTHS_OF_CHANGE)
    possible = at_night & sunday & in_season
    back, forward = diffs == length - _HOUR, diffs == length + _HOUR
    return _HOUR * ((possible & back).astype(np.int64) - (possible & forward).astype(np.int64))


def _work_days(local: Times, holidays: bool) -> Grid | None:
    dates = local.astype("datetime64[D]")
    of_day = local - dates
    weekend = (dates.astype(np.int64) + 3) % 7 > 4
    if weekend.any() or (of_day != of_day[0]).any():
        return None
    counts = np.busday_count(dates[:-1], dates[1:])
    if np.median(counts) != 1:  # only daily series may leave out work days; a missing week or month is a gap
        return None
    if holidays:
        counts = np.where((counts > 0) & (counts <= _MOST_WORK_DAYS), 1, counts)
    return Grid(
        Step("work day", (5,), _after_work_days),
        np.concatenate([[0], np.cumsum(counts)]),
        np.zeros(len(local), bool),
    )


def _monday(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    days = times.astype("datetime64[D]")
    return days - ((days.astype(np.int64) + 3) % 7).astype("timedelta64[D]")


def _mode(values: NDArray[np.int64]) -> int:
    """Return the most frequent value; if none is there twice, the smallest one that divides all, or the median."""
    found, counts = np.unique(values, return_counts=True)
    divides = counts.max() > 1 or (found[0] > 0 and (found % found[0] == 0).all())
    return int(found[counts.argmax()] if divides else found[len(found) // 2])
