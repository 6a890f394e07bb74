"""Files as people have them: the dates that follow, or what is said of a line."""

import bz2
import gzip
import io
import lzma
import random
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from timemachine.base.errors import UserError
from timemachine.forecasting.series.own import Layout, OwnSeries, columns_of, read_all, read_series

VALUES = [10.25, 11.5, 12.75, 13.0, 12.5, 11.25, 10.0, 9.75]


def months(form: str, n: int = 24, start: int = 2022 * 12, step: int = 1) -> list[str]:
    return [f"{datetime((start + step * i) // 12, (start + step * i) % 12 + 1, 1):{form}}" for i in range(n)]


def days(form: str, n: int = 40, step: timedelta = timedelta(1)) -> list[str]:
    return [f"{datetime(2024, 1, 1) + i * step:{form}}" for i in range(n)]


def berlin(form: str, n: int, day: str, minutes: int = 60, zone: str = "Europe/Berlin") -> list[str]:
    """Return local times in equal steps from a local midnight on."""
    first = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return [f"{(first + i * timedelta(minutes=minutes)).astimezone(ZoneInfo(zone)):{form}}" for i in range(n)]


def hours(form: str, n: int = 60, hours: float = 1) -> list[str]:
    return days(form, n, timedelta(hours=hours))


def rows(
    times: Sequence[str],
    separator: str = ",",
    header: str = "time,value",
    value: Callable[[float], str] = str,
    row: str = "{t}{s}{v}",
) -> str:
    lines = [header.replace(",", separator)] if header else []
    lines += [row.format(t=t, s=separator, v=value(VALUES[i % len(VALUES)]), i=i) for i, t in enumerate(times)]
    return "\n".join(lines) + "\n"


def comma(value: float) -> str:
    return str(value).replace(".", ",")


def quarters(form: str, n: int = 24) -> list[str]:
    return [form.format(y=1998 + i // 4, q=i % 4 + 1, yy=(98 + i // 4) % 100) for i in range(n)]


ISO = days("%Y-%m-%d")
NEXT = ["2024-02-10", "2024-02-11"]  # after ISO
MONTHS_NEXT = ["2024-01-01", "2024-02-01"]  # after months("%Y-%m-%d")
CET = ZoneInfo("Europe/Berlin")

# Name: content, what is asked for, the times that follow.
READ: dict[str, tuple[str | bytes, dict[str, Any], list[Any]]] = {
    # separators and what surrounds the table
    "comma": (rows(ISO), {}, NEXT),
    "semicolon with decimal comma": (rows(ISO, ";", value=comma), {}, NEXT),
    "semicolon with decimal point": (rows(ISO, ";"), {}, NEXT),
    "tab": (rows(ISO, "\t"), {}, NEXT),
    "tab with decimal comma": (rows(ISO, "\t", value=comma), {}, NEXT),
    "bar": (rows(ISO, "|"), {}, NEXT),
    "columns of spaces": (rows(ISO, "   ", header="time,value"), {}, NEXT),
    "crlf": (rows(ISO).replace("\n", "\r\n"), {}, NEXT),
    "old mac line ends": (rows(ISO).replace("\n", "\r"), {}, NEXT),
    "byte order mark": (rows(ISO).encode("utf-8-sig"), {}, NEXT),
    "excel unicode text": (rows(ISO, "\t").encode("utf-16"), {}, NEXT),
    "windows-1252": (rows(ISO, ";", "Datum,Größe in m³", comma).encode("cp1252"), {}, NEXT),
    "excel names the separator": ("sep=;\r\n" + rows(ISO, ";", value=comma), {}, NEXT),
    "quoted fields": (rows(ISO, header='"time","value"', row='"{t}","{v}"'), {}, NEXT),
    "spaces around": (rows(ISO, row="  {t} ,  {v}  "), {}, NEXT),
    "title and blank line": ("Monthly report\n\n" + rows(ISO), {}, NEXT),
    "padded title of excel": (
        "Monthly report,,\n,,\n" + rows(ISO, row="{t},{v},", header="time,value,"),
        {},
        NEXT,
    ),
    "comments": ("# NOAA\n# units: ppm, monthly\n" + rows(ISO), {}, NEXT),
    "header in a comment": ("# source: NOAA\n# time,value\n" + rows(ISO, header=""), {}, NEXT),
    "no header": (rows(ISO, header=""), {}, NEXT),
    "blank rows at the end": (rows(ISO) + "\n,\n , \n\n", {}, NEXT),
    "separator at the end of rows": (rows(ISO, row="{t},{v},"), {}, NEXT),
    "newest first": (rows(ISO[::-1]), {}, NEXT),
    "header again": (rows(ISO[:20]) + rows(ISO[20:]), {}, NEXT),
    "other case and spaces in names": (rows(ISO, header=" Date , Net Sales "), {"value": "net sales"}, NEXT),
    "no line end at the end": (rows(ISO).rstrip("\n"), {}, NEXT),
    # tools
    "pandas with an index": (rows(ISO, header=",time,value", row="{i},{t},{v}"), {}, NEXT),
    "pandas series": (rows(ISO, header=",0"), {}, NEXT),
    "pandas with a time index": (rows(ISO, row="{t} 00:00:00,{v}"), {}, [f"{t} 00:00:00" for t in NEXT]),
    "r write.csv": (
        "\n".join(['"","ds","y"', *(f'"{i + 1}","{t}",{VALUES[i % 8]}' for i, t in enumerate(ISO))]),
        {},
        NEXT,
    ),
    "r write.table": (
        "\n".join(['"ds" "y"', *(f'"{i + 1}" "{t}" {VALUES[i % 8]}' for i, t in enumerate(ISO))]),
        {},
        NEXT,
    ),
    "rdatasets": (
        "\n".join(
            ['"rownames","time","value"', *(f"{i + 1},{1949 + i / 12:.15g},{VALUES[i % 8]}" for i in range(24))]
        ),
        {},
        [1951.0, 1951.08333333333],
    ),
    "psql": (
        " time | value \n------------+-------\n" + rows(ISO, header="", row=" {t} |  {v} ") + "(40 rows)\n\n",
        {},
        NEXT,
    ),
    "mysql": (
        "+------+----+\n| time | value |\n+------+----+\n"
        + rows(ISO, header="", row="| {t} | {v} |")
        + "+------+----+\n",
        {},
        NEXT,
    ),
    "markdown": ("| time | value |\n|:---|---:|\n" + rows(ISO, header="", row="| {t} | {v} |"), {}, NEXT),
    "sqlite": (rows(ISO, "|", header=""), {}, NEXT),
    "fred": (rows(months("%Y-%m-%d"), header="observation_date,UNRATE"), {}, MONTHS_NEXT),
    "eurostat": (
        rows(
            months("%Y-%m"), header="DATAFLOW,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG", row="ESTAT:X(1.0),DE,{t},{v},"
        ),
        {},
        ["2024-01", "2024-02"],
    ),
    "imf months": (rows(months("%YM%m")), {}, ["2024M01", "2024M02"]),
    "ecb": (
        rows(months("%Y-%m"), header="DATE,TIME PERIOD,value", row="{t}-28,{t},{v}"),
        {"time": "TIME PERIOD"},
        ["2024-01"],
    ),
    "google trends": (
        "Category: All categories\n\n" + rows(months("%Y-%m"), header="Month,cats: (Worldwide)"),
        {},
        ["2024-01"],
    ),
    "google analytics": (
        "# ----------------------------------------\n# All Web Site Data\n# 20240101-20240209\n"
        "# ----------------------------------------\n\n" + rows(days("%Y%m%d"), header="Date,Users"),
        {},
        ["20240210"],
    ),
    "yahoo": (
        rows(ISO, header="Date,Open,High,Low,Close,Adj Close,Volume", row="{t},1.5,2.5,3.5,{v},{v},1000"),
        {"value": "close"},
        NEXT,
    ),
    "open-meteo": (
        "latitude,longitude,elevation,utc_offset_seconds,timezone\n52.52,13.41,38.0,0,GMT\n\n"
        + rows(hours("%Y-%m-%dT%H:%M"), header="time,temperature_2m (°C)"),
        {},
        ["2024-01-03T12:00", "2024-01-03T13:00"],
    ),
    "a logger": (
        rows(hours("%Y-%m-%d %H:%M:%S", hours=1 / 6), header="Timestamp,Temp"),
        {},
        ["2024-01-01 10:00:00"],
    ),
    # numbers
    "thousands in quotes": (rows(ISO, value=lambda v: f'"1,0{v + 10}"'), {}, NEXT),
    "thousands with points": (rows(ISO, ";", value=lambda v: f"1.0{comma(v + 10)}"), {}, NEXT),
    "thousands with spaces": (rows(ISO, ";", value=lambda v: f"1\u00a00{comma(v + 10)}"), {}, NEXT),
    "thousands with apostrophes": (rows(ISO, value=lambda v: f"1'0{v + 10}"), {}, NEXT),
    "dollars": (rows(ISO, value=lambda v: f"${v}"), {}, NEXT),
    "percent": (rows(ISO, value=lambda v: f"{v}%"), {}, NEXT),
    "decimal commas in quotes": (rows(ISO, value=lambda v: f'"0,{int(100 * v):04d}"'), {}, NEXT),
    "exponents": (rows(ISO, value=lambda v: f"{v:e}"), {}, NEXT),
    "minus sign of typography": (rows(ISO, value=lambda v: f"\u2212{v}"), {}, NEXT),
    # dates
    "unpadded": (
        rows([f"{t:%Y}/{t.month}/{t.day}" for t in map(datetime.fromisoformat, months("%Y-%m-%d"))]),
        {},
        ["2024/1/1", "2024/2/1"],
    ),
    "quarters": (rows(quarters("{y}Q{q}")), {}, ["2004Q1", "2004Q2"]),
    "quarters with a hyphen": (rows(quarters("{y}-Q{q}")), {}, ["2004-Q1", "2004-Q2"]),
    "quarters with a space": (rows(quarters("{y} Q{q}")), {}, ["2004 Q1", "2004 Q2"]),
    "quarters first": (rows(quarters("Q{q} {y}")), {}, ["Q1 2004", "Q2 2004"]),
    "quarters in lower case": (rows(quarters("{y}q{q}")), {}, ["2004q1", "2004q2"]),
    "half-years": (rows([f"{1998 + i // 2}-S{i % 2 + 1}" for i in range(20)]), {}, ["2008-S1", "2008-S2"]),
    "Jan-49": (rows(months("%b-%y", 144, 1949 * 12)), {}, ["Jan-61", "Feb-61"]),
    "1949 Jan": (rows(months("%Y %b", 144, 1949 * 12)), {}, ["1961 Jan", "1961 Feb"]),
    "January 1949": (rows(months("%B %Y", 144, 1949 * 12)), {}, ["January 1961", "February 1961"]),
    "JAN 1949": (rows([t.upper() for t in months("%b %Y", 144, 1949 * 12)]), {}, ["JAN 1961"]),
    "May only tells nothing": (rows(months("%b %Y", 5, 1949 * 12 + 4, 12)), {}, ["May 1954"]),
    "weeks": (rows([f"2024-W{i:02d}" for i in range(1, 52)]), {}, ["2024-W52", "2025-W01"]),
    "four weeks of a year": (rows([f"2024-W{i}" for i in range(31, 35)]), {}, ["2024-W35"]),
    "YYYYMM": (rows(months("%Y%m")), {}, ["202401", "202402"]),
    "YYYYMMDD": (rows(days("%Y%m%d")), {}, ["20240210", "20240211"]),
    "YYYYMMDDHH": (rows(hours("%Y%m%d%H")), {}, ["2024010312"]),
    "month and year": (rows(months("%m/%Y")), {}, ["01/2024", "02/2024"]),
    "unpadded months with days above 9": (
        rows([f"{d}.4.2024" for d in range(15, 31)]),
        {},
        ["1.5.2024", "2.5.2024"],
    ),
    "fiscal years": (rows([f"{y}-{(y + 1) % 100:02d}" for y in range(1990, 2015)]), {}, ["2015-16", "2016-17"]),
    "years": (rows([str(y) for y in range(1871, 1971)]), {}, [1971, 1972]),
    "years with decimals": (rows([f"{1949 + i / 12:.3f}" for i in range(48)]), {}, [1953.0, 1953.083]),
    "day first, decided by a day": (rows(days("%d/%m/%Y")), {}, ["10/02/2024", "11/02/2024"]),
    "month first, decided by a day": (rows(days("%m/%d/%Y")), {}, ["02/10/2024", "02/11/2024"]),
    "day first, decided by the steps": (rows(months("%d/%m/%Y")), {}, ["01/01/2024", "01/02/2024"]),
    "month first, decided by the steps": (rows(months("%m/%d/%Y")), {}, ["01/01/2024", "02/01/2024"]),
    "german": (rows(days("%d.%m.%Y"), ";", "Datum,Wert", comma), {}, ["10.02.2024", "11.02.2024"]),
    "german with time": (rows(hours("%d.%m.%Y %H:%M"), ";", "Datum,Wert", comma), {}, ["03.01.2024 12:00"]),
    "two digits of the year": (rows(days("%d.%m.%y"), ";", value=comma), {}, ["10.02.24", "11.02.24"]),
    "am and pm": (rows(hours("%m/%d/%Y %I:%M:%S %p", 400)), {}, ["01/17/2024 04:00:00 PM"]),
    "1-Jan-2024": (rows(days("%d-%b-%Y")), {}, ["10-Feb-2024"]),
    "sas": (rows([t.upper() for t in days("%d%b%Y")]), {}, ["10FEB2024"]),
    "Jan 1, 2024": (rows(days("%b %d, %Y"), row='"{t}",{v}'), {}, ["Feb 10, 2024"]),
    "weekdays": (rows(days("%a %d %b %Y")), {}, ["Sat 10 Feb 2024"]),
    "named format": (rows(months("%d/%m/%Y", 5)), {"date_format": "%d/%m/%Y"}, ["01/06/2022"]),
    "named format with a time of day that is left out": (
        rows(ISO),
        {"date_format": "%Y-%m-%d %H:%M"},
        [f"{t} 00:00" for t in NEXT],
    ),
    "named format with a fraction that is left out": (
        rows(["2024-01-01 00:00:00", "2024-01-01 00:00:01", "2024-01-01 00:00:02"]),
        {"date_format": "%Y-%m-%d %H:%M:%S.%f"},
        ["2024-01-01 00:00:03.0"],
    ),
    "named format of month names": (rows(months("%B of %Y")), {"date_format": "%B of %Y"}, ["January of 2024"]),
    "r leaves out midnight": (
        rows([t.replace(" 00:00:00", "") for t in hours("%Y-%m-%d %H:%M:%S", 57)]),
        {},
        ["2024-01-03 09:00:00"],
    ),
    "python leaves out a fraction of zero": (
        rows([(datetime(2024, 1, 1) + i * timedelta(seconds=0.5)).isoformat() for i in range(40)]),
        {},
        ["2024-01-01T00:00:20.000000", "2024-01-01T00:00:20.500000"],
    ),
    "month ends": (
        rows(["2023-09-30", "2023-10-31", "2023-11-30", "2023-12-31"]),
        {},
        ["2024-01-31", "2024-02-29"],
    ),
    "the 30th": (rows(["2023-11-30", "2023-12-30", "2024-01-30", "2024-02-29"]), {}, ["2024-03-30", "2024-04-30"]),
    "business month ends": (
        rows(["2024-03-29", "2024-04-30", "2024-05-31", "2024-06-28", "2024-07-31"]),
        {},
        ["2024-08-30", "2024-09-30"],
    ),
    "exchange holidays": (
        rows(["2024-03-27", "2024-03-28", "2024-04-02", "2024-04-03"]),
        {},
        ["2024-04-04", "2024-04-05", "2024-04-08"],
    ),
    "unix seconds": (rows([str(1700000000 + 3600 * i) for i in range(48)]), {}, [1700172800]),
    # zones
    "utc": (rows(hours("%Y-%m-%dT%H:%M:%SZ")), {}, ["2024-01-03T12:00:00Z"]),
    "javascript": (rows(days("%Y-%m-%dT00:00:00.000Z")), {}, ["2024-02-10T00:00:00.000Z"]),
    "days in a zone": (
        rows([f"{datetime(2024, 3, 1, tzinfo=CET) + timedelta(i):%Y-%m-%dT%H:%M:%S%z}" for i in range(60)]),
        {},
        ["2024-04-30T00:00:00+0200"],
    ),
    "months in a zone": (
        rows([datetime(2020 + i // 12, i % 12 + 1, 1, tzinfo=CET).isoformat() for i in range(36)]),
        {},
        [datetime(2023, i, 1, tzinfo=CET).isoformat() for i in range(1, 8)],
    ),
    "hours in a zone": (
        rows([t[:-2] + ":" + t[-2:] for t in berlin("%Y-%m-%d %H:%M:%S%z", 60, "2024-10-26")]),
        {},
        ["2024-10-28 11:00:00+01:00"],
    ),
    "hours in a zone over the change to come": (
        rows(berlin("%Y-%m-%d %H:%M%z", 24 * 210, "2024-03-30")),
        {},
        berlin("%Y-%m-%d %H:%M%z", 24 * 213, "2024-03-30")[24 * 210 :],
    ),
    "local hours, autumn": (rows(berlin("%Y-%m-%d %H:%M", 60, "2024-10-26")), {}, ["2024-10-28 11:00"]),
    "local hours, spring": (rows(berlin("%Y-%m-%d %H:%M", 60, "2024-03-30")), {}, ["2024-04-01 13:00"]),
    "local quarters of an hour": (rows(berlin("%d.%m.%Y %H:%M", 200, "2024-10-26", 15)), {}, ["28.10.2024 01:00"]),
    "every three hours of local time": (
        rows(berlin("%Y-%m-%d %H:%M", 60, "2024-03-28", 180)),
        {},
        ["2024-04-04 13:00", "2024-04-04 16:00"],
    ),
    "local hours, new york": (
        rows(berlin("%m/%d/%Y %H:%M", 400, "2024-03-01", 60, "America/New_York")),
        {},
        ["03/17/2024 17:00"],
    ),
    "local midnights in utc": (
        rows(
            [
                (datetime(2024, 3, 1, tzinfo=CET) + timedelta(i))
                .astimezone(UTC)
                .strftime("%Y-%m-%dT%H:%M:%S.000Z")
                for i in range(60)
            ]
        ),
        {},
        ["2024-04-29T22:00:00.000Z"],
    ),
    # gaps, rows and several series
    "a gap filled": (rows(ISO[:10] + ISO[12:]), {"fill": "linear"}, NEXT),
    "missing values filled": (rows(ISO).replace("13.0", "NA"), {"fill": "previous"}, NEXT),
    "a missing month filled": (rows(months("%b-%y")[:5] + months("%b-%y")[6:]), {"fill": "linear"}, ["Jan-24"]),
    "six-day weeks": (
        rows([t for t, d in zip(ISO, days("%w"), strict=True) if d != "0"]),
        {"steps": "rows"},
        ["2024-02-10", "2024-02-12"],
    ),
    "trading hours": (
        rows(
            [
                f"{d} {h:02d}:00"
                for d, w in zip(ISO, days("%w"), strict=True)
                if w not in "06"
                for h in range(9, 17)
            ]
        ),
        {"steps": "rows"},
        ["2024-02-12 09:00", "2024-02-12 10:00"],
    ),
    "weeks moved by holidays": (
        rows(["2024-12-16", "2024-12-23", "2024-12-31", "2025-01-06", "2025-01-13", "2025-01-20", "2025-01-28"]),
        {"steps": "rows"},
        ["2025-02-03", "2025-02-10"],
    ),
    "one of several": (
        rows(ISO, header="id,time,value", row="A,{t},{v}") + rows(ISO, header="", row="B,{t},{v}"),
        {"where": ("id", "b")},
        NEXT,
    ),
    "values without times": ("value\n1\n2\n3\n", {"steps": "rows"}, [4, 5]),
    # dates in several columns
    "date and time": (
        rows(hours("%Y-%m-%d,%H:%M"), header="Date,Time,Temperature"),
        {},
        ["2024-01-03 12:00", "2024-01-03 13:00"],
    ),
    "date and time, named": (
        rows(hours("%Y-%m-%d,%H:%M"), header="Date,Time,Temperature"),
        {"time": "Date Time"},
        ["2024-01-03 12:00"],
    ),
    "year and month": (rows(months("%Y,%m"), header="year,month,value"), {}, ["2024-01", "2024-02"]),
    "year and quarter": (rows(quarters("{y},{q}"), header="Year,Quarter,GDP"), {}, ["2004-Q1", "2004-Q2"]),
    "year, month and day": (rows(days("%Y,%m,%d"), header="YEAR,MO,DY,T2M"), {}, NEXT),
    "bls": (
        rows(months("LNS14000000,%Y,M%m"), header="Series ID,Year,Period,Value"),
        {},
        ["2024-M01", "2024-M02"],
    ),
    # more tables
    "units below the names": ("time,value\n-,ppm\n" + rows(ISO, header=""), {"value": "value"}, NEXT),
    "units below the names, found": ("time,value\n,(ppm)\n" + rows(ISO, header=""), {}, NEXT),
    "value first": (rows(ISO, header="value,time", row="{v},{t}"), {}, NEXT),
    "names in several lines": ('"time","value\n(ppm)"\n' + rows(ISO, header=""), {}, NEXT),
    "a comment at the end": (rows(ISO) + "# end of file\n", {}, NEXT),
    "hard spaces": (rows(ISO, row="{t}\u00a0,\u00a0{v}"), {}, NEXT),
    "a constant column that tells series apart": (
        rows(ISO, header="store,time,value", row="3,{t},{v}"),
        {"where": ("store", "3")},
        NEXT,
    ),
    "values to come are missing": (
        rows(ISO[:30]) + ",\n".join(ISO[30:]) + ",\n",
        {"fill": "linear"},
        ["2024-01-31"],
    ),
    # more dates
    "quarters with two digits of the year": (rows(quarters("Q{q}'{yy:02d}", 8)), {}, ["Q1'00", "Q2'00"]),
    "quarters as 2024-1": (rows(quarters("{y}-{q}")), {}, ["2004-1", "2004-2"]),
    "quarters as 2024.1": (rows(quarters("{y}.{q}")), {}, ["2004.1", "2004.2"]),
    "months as 2024.01": (rows(months("%Y.%m")), {}, ["2024.01", "2024.02"]),
    "months of one year as 2024.01": (rows(months("%Y.%m", 8)), {}, ["2022.09", "2022.10"]),
    "months of one year as 01.2024": (rows(months("%m.%Y", 12)), {}, ["01.2023", "02.2023"]),
    "months as 01.2024 without names": (rows(months("%m.%Y"), header=""), {}, ["01.2024", "02.2024"]),
    "tenths of years": (rows([f"{2000 + i / 10:.1f}" for i in range(30)]), {}, [2003.0, 2003.1]),
    "months as 2024_01": (rows(months("%Y_%m")), {}, ["2024_01", "2024_02"]),
    "49-Jan, named": (
        rows(months("%y-%b", 144, 1949 * 12)),
        {"date_format": "%y-%b"},
        ["61-Jan", "61-Feb"],
    ),
    "Jan. 1949": (rows(months("%b. %Y", 144, 1949 * 12)), {}, ["Jan. 1961", "Feb. 1961"]),
    "over the turn of the century": (rows(months("%b-%y", 144, 1995 * 12)), {}, ["Jan-07"]),
    "days of ISO weeks": (rows(days("%G-W%V-%u")), {}, ["2024-W06-6", "2024-W06-7"]),
    "days of the year": (rows(days("%Y-%j")), {}, ["2024-041", "2024-042"]),
    "a log of a web server": (rows(days("%d/%b/%Y:%H:%M:%S +0000")), {}, ["10/Feb/2024:00:00:00 +0000"]),
    "basic ISO": (rows(hours("%Y%m%dT%H%M%SZ")), {}, ["20240103T120000Z"]),
    "unpadded month first, two digits": (rows([f"1/{i}/24" for i in range(1, 32)]), {}, ["2/1/24", "2/2/24"]),
    "four weeks": (rows(days("%Y-%m-%d", 20, timedelta(28))), {}, ["2025-07-14", "2025-08-11"]),
    "the middle of months": (rows(months("%Y-%m-15")), {}, ["2024-01-15", "2024-02-15"]),
    "the close of work days": (
        rows([f"{t} 16:00" for t, d in zip(ISO, days("%w"), strict=True) if d not in "06"]),
        {},
        ["2024-02-12 16:00", "2024-02-13 16:00"],
    ),
    "a year of local hours, newest first": (
        rows(berlin("%Y-%m-%d %H:%M", 24 * 366, "2024-01-01")[::-1]),
        {},
        ["2025-01-01 00:00", "2025-01-01 01:00"],
    ),
    "three days a week": (
        rows([t for t, d in zip(ISO, days("%w"), strict=True) if d in "135"]),
        {"steps": "rows"},
        ["2024-02-12", "2024-02-14", "2024-02-16"],
    ),
    "month ends moved by holidays": (
        rows(["2024-01-31", "2024-02-28", "2024-03-28", "2024-04-30", "2024-05-31", "2024-06-28"]),
        {"steps": "rows"},
        ["2024-07-31", "2024-08-30"],
    ),
    "milliseconds of Unix": (
        rows([str(1_700_000_000_000 + 3_600_000 * i) for i in range(48)]),
        {},
        [1700172800000],
    ),
    # found in files of tools
    "influxdb": (
        "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,double\n"
        + rows(
            hours("%Y-%m-%dT%H:00:00Z"), header=",result,table,_start,_time,_value", row=",,0,2024-01-01,{t},{v}"
        ),
        {"value": "_value"},
        ["2024-01-03T12:00:00Z"],
    ),
    "the date of the file in each row": (
        rows(months("%Y-%m"), header="LAST UPDATE,TIME_PERIOD,OBS", row="12/03/24 23:00:00,{t},{v}"),
        {},
        ["2024-01", "2024-02"],
    ),
    "hobo": (
        '"Plot Title: X"\n"#","Date Time, GMT+01:00","Temp, °C"\n'
        + rows(hours("%m/%d/%y %I:%M:%S %p", 400), header="", row="{i},{t},{v}"),
        {"value": "Temp, °C"},
        ["01/17/24 04:00:00 PM"],
    ),
    "usgs": (
        "# USGS\nagency\tsite\tdatetime\tflow\n5s\t15s\t20d\t14n\n"
        + rows(ISO, "\t", header="", row="USGS\t0164\t{t}\t{v}"),
        {"value": "flow"},
        NEXT,
    ),
    "an id in each row": (rows(ISO, header="id,time,value", row="{i},{t},{v}"), {}, NEXT),
    "years to come without values": (
        rows([str(y) for y in range(1990, 2014)]) + "2014,\n2015,\n",
        {"fill": "linear"},
        [2014, 2015],
    ),
}


@pytest.mark.parametrize("case", READ)
def test_a_file_is_read_as_it_is_and_its_times_go_on_in_their_form(case: str, tmp_path: Path) -> None:
    content, layout, following = READ[case]
    path = tmp_path / "s.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    series = read_series(path, Layout(**layout))
    assert series.future(len(following)).tolist() == following
    assert len(series.time) == len(series.x) >= 3


REFUSED: dict[str, tuple[str | bytes, dict[str, Any], list[str]]] = {
    "day or month": (
        rows(months("%d/%m/%Y", 5)),
        {},
        [
            "line 3",
            "'01/02/2022'",
            "1 February 2022",
            "2 January 2022",
            "--date-format",
            "'%d/%m/%Y'",
            "'%m/%d/%Y'",
        ],
    ),
    "day or month with points": (rows(months("%d.%m.%Y", 5)), {}, ["line 3", "'01.02.2022'", "--date-format"]),
    "a missing month": (
        rows(months("%Y-%m-%d")[:5] + months("%Y-%m-%d")[6:]),
        {},
        ["line 7", "2022-06-01 is missing", "--fill", "--steps rows"],
    ),
    "three missing days": (rows(ISO[:5] + ISO[8:]), {}, ["line 7", "3 times", "2024-01-06"]),
    "an empty value": (rows(ISO).replace("13.0", ""), {}, ["line 5", "'value'", "missing", "--fill"]),
    "NA": (rows(ISO).replace("13.0", "NA"), {}, ["line 5", "missing", "'NA'"]),
    "a point for nothing": (rows(ISO).replace(",13.0", ",."), {}, ["line 5", "missing", "'.'"]),
    "a word": (rows(ISO).replace(",13.0", ",high"), {}, ["line 5", "'high' is not a number"]),
    "infinity": (rows(ISO).replace(",13.0", ",inf"), {}, ["line 5", "'inf' is not a finite number"]),
    "1e999": (rows(ISO).replace(",13.0", ",1e999"), {}, ["line 5", "'1e999'", "too large"]),
    "underscores": (rows(ISO).replace(",13.0", ",1_000"), {}, ["line 5", "'1_000' is not a number"]),
    "points that may be thousands": (
        rows(ISO, ";", value=lambda v: f"1.{int(v):03d}"),
        {},
        ["line 2", "'1.010'", "1010"],
    ),
    "another unit": (
        rows(ISO, value=lambda v: f"${v}").replace("$13.0", "€13.0"),
        {},
        ["line 5", "'€13.0'", "unit"],
    ),
    "a value that is no number in the first row": (
        rows(months("%Y-%m")).replace("10.25", "<1", 1),
        {},
        ["line 2", "'<1' is not a number", "--fill"],
    ),
    "a year with no number in the first row": (
        rows([str(y) for y in range(1990, 2014)]).replace("10.25", "n.a.*", 1),
        {},
        ["line 2", "'n.a.*' is not a number"],
    ),
    "a fault in the first date": (rows(["2024-01-1x", *ISO[1:]]), {}, ["line 2", "'2024-01-1x'", "line 3"]),
    "names of months that are not English": (
        rows(["août-20", "sept-20", "oct-20", "nov-20", "déc-20", "janv-21"]),
        {},
        ["line 2", "'août-20' is not a date", "'sept-20' at line 3"],
    ),
    "days without a year": (rows(days("%d-%b")), {}, ["line 2", "'01-Jan' is neither", "--date-format"]),
    "years among quarters": (
        rows(["2022", "2023", *quarters("{y} Q{q}")]),
        {},
        ["line 2", "'2022' is not a date in the form of '1998 Q1' at line 4"],
    ),
    "whole lines in quotes": (
        rows(ISO, header='"time,value"', row='"{t},{v}"'),
        {},
        ["no rows", "separated by a comma", "line 2 has '2024-01-01,10.25'"],
    ),
    "a letter in a year": (rows(["1990", "1991", "I992", *map(str, range(1993, 2014))]), {}, ["line 4", "'I992'"]),
    "a year with no value": (rows(["1990", "1991", "1992"]) + "1993,\n", {}, ["line 5", "missing", "--fill"]),
    "years in merged cells": (
        rows(months("%Y,%b"), header="year,month,value").replace("\n2023,", "\n,"),
        {},
        ["line 14", "'Jan 12.5'", "no whole row"],
    ),
    "a field of a megabyte": (rows(ISO) + "2024-02-10," + "1" * 1_000_000 + "\n", {}, ["line 42", "too long"]),
    "series that two columns tell apart": (
        "".join(
            rows(ISO, ",", "" if k + j > "Ax" else "a,b,time,value", row=f"{k},{j},{{t}},{{v}}")
            for k in "AB"
            for j in "xy"
        ),
        {},
        ["line 42", "--where a=A"],
    ),
    "a note": (rows(ISO) + "\nSource: Federal Reserve\n", {}, ["line 43", "a note", "'Source: Federal Reserve'"]),
    "a note with a separator": (
        rows(ISO) + "\nSource: Fed, St. Louis\n",
        {},
        ["line 43", "'Source: Fed St. Louis'"],
    ),
    "a total": (rows(ISO) + "Total,450\n", {}, ["line 42", "'Total 450'"]),
    "decimal commas between commas": (rows(ISO, value=comma), {}, ["line 2", "3 fields", "line 1 has 2"]),
    "too many fields": (rows(ISO).replace("13.0", "13,0"), {}, ["line 5", "3 fields", "2"]),
    "an open quote": (rows(ISO).replace("2024-01-04", '"2024-01-04'), {}, ["line 5", "quotation mark"]),
    "a time twice": (rows([*ISO[:5], *ISO[4:]]), {}, ["line 7", "'2024-01-05'", "duplicate time", "line 6"]),
    "out of order": (rows([*ISO[:5], ISO[6], ISO[5], *ISO[7:]]), {}, ["line 8", "'2024-01-06'", "before", "sort"]),
    "a date that is none": (rows([*ISO[:5], "2024-02-30", *ISO[6:]]), {}, ["line 7", "'2024-02-30'"]),
    "words for times": (rows(["soon", "later", "never"]), {"time": "time"}, ["line 2", "'soon'", "--date-format"]),
    "several series": (
        rows(ISO, header="country,time,value", row="FR,{t},{v}") + rows(ISO, header="", row="DE,{t},{v}"),
        {},
        ["line 42", "'country' has 2 values", "--where country=FR", "--all --id country"],
    ),
    "an id that is not there": (
        rows(ISO, header="id,time,value", row="A,{t},{v}"),
        {"where": ("id", "X")},
        ["'id' has no 'X'", "'A'"],
    ),
    "a column that is not there": (rows(ISO), {"value": "price"}, ["no column 'price'", "'time', 'value'"]),
    "several numbers": (
        rows(ISO, header="Date,Open,Close", row="{t},1.5,{v}"),
        {},
        ["'Open', 'Close'", "--value"],
    ),
    "several dates": (rows(ISO, header="from,to,value", row="{t},{t},{v}"), {}, ["'from', 'to'", "--time"]),
    "a business week with a gap": (
        rows([t for t, d in zip(ISO, days("%w"), strict=True) if d != "0"]),
        {},
        ["a gap", "--steps rows"],
    ),
    "weeks moved by holidays": (
        rows(["2024-12-16", "2024-12-23", "2024-12-31", "2025-01-06", "2025-01-13"]),
        {},
        ["line 4", "'2024-12-31'", "week", "--steps rows"],
    ),
    "quarters or months": (rows(quarters("{y}-{q}", 4)), {}, ["'1998-2'", "'%Y-%m'", "'%Y-%Q'"]),
    "fiscal years or months": (rows(["2009/10", "2010/11", "2011/12"]), {}, ["'%Y/%m'", "'%Y/%N'"]),
    "a unit after the value": (
        rows(ISO, value=lambda v: f"{v} kWh"),
        {},
        ["line 2", "'10.25 kWh' is not a number"],
    ),
    "a negative number of accountants": (rows(ISO, value=lambda v: f"({v})"), {}, ["line 2", "'(10.25)'"]),
    "a flag after a value": (rows(ISO).replace("13.0", "13.0 p"), {}, ["line 5", "'13.0 p'"]),
    "months side by side": (
        "Year,Jan,Feb,Mar,Apr,May,Jun,Jul,Aug,Sep,Oct,Nov,Dec\n" + f"1950{',1.5' * 12}\n1951{',2.5' * 12}\n",
        {},
        ["line 1", "Jan, Feb, Mar", "names of columns"],
    ),
    "days of excel": (rows(["45292", "45323", "45352", "45383"]), {}, ["line 4", "'45352'", "Excel"]),
    "years of two digits": (rows(months("%b-%y", 96, 2028 * 12)), {}, ["line 97", "two digits"]),
    "a time of day only": (rows(hours("%H:%M", 20)), {}, ["line 2", "'00:00' is neither a number nor a date"]),
    "the name of a zone": (
        rows(days("%Y-%m-%d 00:00 CET")),
        {},
        ["line 2", "'2024-01-01 00:00 CET'", "--date-format"],
    ),
    "a time far away": (rows(["1", "2", "3", "1e300"]), {}, ["line 5", "'1e300'", "step: 1)"]),
    "hour 24": (rows([*hours("%Y-%m-%d %H:%M", 24), "2024-01-01 24:00"]), {}, ["line 26", "24:00"]),
    "day and month mixed": (rows(["01/13/2024", "14/01/2024", "01/15/2024"]), {}, ["line 3", "'14/01/2024'"]),
    "one row": (rows(ISO[:1]), {}, ["1 row", "at least 2"]),
    "wide": (
        "Country,"
        + ",".join(map(str, range(1990, 2020)))
        + "\nGermany"
        + ",1.5" * 30
        + "\nFrance"
        + ",1.5" * 30
        + "\n",
        {},
        ["1990", "names of columns"],
    ),
    "nothing": ("", {}, ["empty"]),
    "a byte order mark only": (b"\xef\xbb\xbf", {}, ["empty"]),
    "ranges of time": (
        rows([f"{t} - {u}" for t, u in pairwise(hours("%d.%m.%Y %H:%M"))]),
        {},
        ["line 2", "'01.01.2024 00:00 - 01.01.2024 01:00' is neither", "--date-format"],
    ),
    "header only": ("time,value\n", {}, ["no rows"]),
    "json": ('{"a": 1}', {}, ["JSON"]),
    "html": ("<!DOCTYPE html><html></html>", {}, ["HTML"]),
    "utf-16 without a mark": (rows(ISO).encode("utf-16-le"), {}, ["binary"]),
    "binary": (bytes(range(256)) * 4, {}, ["binary"]),
    "excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), {}, ["Excel"]),
    "a format without a year": (rows(ISO), {"date_format": "%d.%m."}, ["--date-format", "no year"]),
    "another format": (rows(ISO), {"date_format": "%d.%m.%Y"}, ["line 2", "'2024-01-01'", "'%d.%m.%Y'"]),
    "an unknown code": (rows(ISO), {"date_format": "%Y-%m-%K"}, ["--date-format", "%K"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_one_line_with_the_line_of_the_file(case: str, tmp_path: Path) -> None:
    content, layout, words = REFUSED[case]
    path = tmp_path / "s.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"s\.csv: ") as raised:
        read_series(path, Layout(**layout))
    message = str(raised.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message


def test_no_damage_to_a_file_ends_in_anything_but_one_line(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "s.csv"
    num_read, messages = 0, []
    for content, layout, _ in [*READ.values(), *REFUSED.values()] * 2:
        text = content if isinstance(content, str) else content.decode("latin-1")
        text = "\n".join(text.split("\n")[:30]) + "\n"
        i = rng.randrange(len(text))
        damage = rng.choice(["", "\n", '"', ",", ";", "0", "-", "1e400", "é", "Q9", "2024-02-30"])
        text = text[:i] + damage + text[i + 1 :]
        path.write_text(text)
        fill = rng.choice([{}, {"fill": "linear"}, {"steps": "rows"}])
        try:
            series = read_series(path, Layout(**{**layout, **fill}))
            assert len(series.future(5)) == 5
            assert len(series.in_iso().time) == len(series.x)
            num_read += 1
        except UserError as error:
            messages.append(str(error))
    assert min(num_read, len(messages)) > 30
    assert [message for message in messages if "\n" in message] == []


def zipped(*members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in members:
            archive.writestr(name, rows(ISO))
    return file.getvalue()


PACKED = {
    "s.csv.gz": gzip.compress(rows(ISO).encode()),
    "s.csv.bz2": bz2.compress(rows(ISO).encode()),
    "s.csv.xz": lzma.compress(rows(ISO).encode()),
    "s.csv.zip": zipped("a.csv"),
    "s.zip": zipped("a.csv", "__MACOSX/._a.csv"),
    "plain.csv.gz": rows(ISO).encode(),
    "packed.csv": gzip.compress(rows(ISO).encode()),
}


@pytest.mark.parametrize("name", PACKED)
def test_compression_is_known_by_the_content(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PACKED[name])
    assert read_series(tmp_path / name).future(2).tolist() == NEXT


BROKEN = {
    "s.csv.gz": (PACKED["s.csv.gz"][:-30], "cut"),
    "s.csv.bz2": (PACKED["s.csv.bz2"][:-30], "cut"),
    "s.csv.xz": (PACKED["s.csv.xz"][:-30], "cut|damaged"),
    "s.csv.zip": (PACKED["s.csv.zip"][:-30], "damaged"),
    "crc.csv.gz": (PACKED["s.csv.gz"][:-8] + bytes(8), "damaged"),
    "two.zip": (zipped("a.csv", "b.csv"), r"2 members \(a\.csv, b\.csv\)"),
    "book.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "Excel"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_or_ambiguous_archive_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BROKEN[name][0])
    with pytest.raises(ValueError, match=BROKEN[name][1]):
        read_series(tmp_path / name)


def test_a_folder_a_url_and_no_file_are_named(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "a folder"),
        ("https://x.org/a.csv", "URLs are not"),
        (tmp_path / "x", "no such"),
    ):
        with pytest.raises(ValueError, match=words):
            read_series(path)


def test_the_columns_of_a_file_are_listed(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(rows(ISO, header="country,time,value", row="FR,{t},{v}").replace("13.0", "NA"))
    country, time, value = columns_of(tmp_path / "s.csv")
    assert country.split() == ["'country'", "text,", "1", "values:", "FR"]
    assert "date: 2024-01-01, 2024-01-02, 2024-01-03" in time
    assert "number, 5 missing: 10.25, 11.5" in value


def test_all_series_of_a_file_are_read_at_once_and_a_fault_is_of_one_only(tmp_path: Path) -> None:
    good = rows(ISO, header="id,time,value", row="A,{t},{v}")
    gap = rows(ISO[:3] + ISO[4:], header="", row="B,{t},{v}")
    word = rows(ISO, header="", row="C,{t},{v}").replace("13.0", "high")
    (tmp_path / "s.csv").write_text(good + gap)
    found = read_all(tmp_path / "s.csv", Layout(), "id")
    assert list(found) == ["A", "B"]
    assert isinstance(found["A"], OwnSeries)
    assert found["A"].future(2).tolist() == NEXT
    assert "line 45, column 'time': a gap: 2024-01-04 is missing" in str(found["B"])
    (tmp_path / "s.csv").write_text(good + word)
    found = read_all(tmp_path / "s.csv", Layout(), "id")
    assert isinstance(found["A"], OwnSeries)
    assert found["A"].x.tolist()[:3] == VALUES[:3]
    assert "line 45, column 'value': 'high' is not a number" in str(found["C"])
    (tmp_path / "s.csv").write_text(good.replace("-", "#"))
    with pytest.raises(ValueError, match=r"s\.csv: line 2, column 'time': '2024#01#01' is neither"):
        read_all(tmp_path / "s.csv", Layout(), "id")
