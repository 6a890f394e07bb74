"""Time zones of files that write offsets from UTC."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

# One for each rule of summer time, those of many people first.
_NAMES = (
    "Europe/Berlin", "America/New_York", "Europe/London", "America/Chicago", "America/Los_Angeles",
    "America/Denver", "Europe/Athens", "Australia/Sydney", "Pacific/Auckland", "America/Halifax",
    "America/Santiago", "America/Sao_Paulo", "Australia/Adelaide", "America/St_Johns", "America/Anchorage",
    "Asia/Jerusalem", "Europe/Moscow", "Africa/Cairo", "America/Mexico_City", "Asia/Tehran",
)  # fmt: skip
_MOST_CHECKED = 500


@cache
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:  # a machine without a database of time zones
        return None


def zone_of(local: NDArray[np.datetime64], offset_s: NDArray[np.int64]) -> tzinfo:
    """Return a time zone that has these offsets at these local times.

    A constant offset is a zone of its own. If no known zone fits, it is that of the last offset.
    """
    if (offset_s != offset_s[0]).any():
        changes = np.flatnonzero(np.diff(offset_s))
        spread = np.linspace(0, len(local) - 1, _MOST_CHECKED).astype(int)
        rows = np.unique(np.concatenate([changes, changes + 1, spread]))
        times = [utc.replace(tzinfo=UTC) for utc in (local - _us(offset_s))[rows].tolist()]
        offsets = [timedelta(seconds=seconds) for seconds in offset_s[rows].tolist()]
        for zone in filter(None, map(_zone, _NAMES)):
            if [time.astimezone(zone).utcoffset() for time in times] == offsets:
                return zone
    return timezone(timedelta(seconds=int(offset_s[-1])))


def zone_of_midnights(utc: NDArray[np.datetime64]) -> tzinfo | None:
    """Return a time zone in which all these times are midnight, None if there is none."""
    for zone in filter(None, map(_zone, _NAMES)):
        if not _of_day(to_local(utc[:_MOST_CHECKED], zone)).any() and not _of_day(to_local(utc, zone)).any():
            return zone
    return None


def to_local(utc: NDArray[np.datetime64], zone: tzinfo) -> NDArray[np.datetime64]:
    """Return the local times of UTC times."""
    times = [zone.fromutc(time.replace(tzinfo=zone)).replace(tzinfo=None) for time in utc.tolist()]
    return np.array(times, "datetime64[us]")


def offsets_at(local: NDArray[np.datetime64], zone: tzinfo) -> NDArray[np.int64]:
    """Return the seconds by which local times are ahead of UTC."""
    return np.array([_seconds(time.replace(tzinfo=zone)) for time in local.tolist()], np.int64)


def _seconds(time: datetime) -> int:
    offset = time.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _us(seconds: NDArray[np.int64]) -> NDArray[np.timedelta64]:
    return (seconds * 1_000_000).astype("timedelta64[us]")


def _of_day(times: NDArray[np.datetime64]) -> NDArray[np.timedelta64]:
    return times - times.astype("datetime64[D]")
