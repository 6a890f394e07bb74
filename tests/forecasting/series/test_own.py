import os
from pathlib import Path

import pytest

from timemachine.forecasting.series.config import SeriesParams
from timemachine.forecasting.series.own import (
    Layout,
    OwnSeries,
    calendar_seasons,
    read_own_series,
    read_series,
)
from timemachine.forecasting.series.source import Series


def series_of(folder: Path, *times: str, layout: Layout | None = None) -> OwnSeries:
    path = folder / "s.csv"
    path.write_text("when,what\n" + "".join(f"{t},{i}\n" for i, t in enumerate(times)))
    return read_series(path, layout or Layout("when", "what"))


@pytest.mark.parametrize(
    ("times", "following"),
    [
        (["1", "3", "5"], ["7", "9", "11"]),
        (["0.1", "0.2", "0.3"], ["0.4", "0.5", "0.6"]),
        (["1700000000.0", "1700000000.1", "1700000000.2"], ["1700000000.3"]),
        (["1700000000000000000", "1700000000000000001"], ["1700000000000000002", "1700000000000000003"]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01", "2024-03-02"]),
        (["2024-01-01T22:00", "2024-01-01T23:00"], ["2024-01-02T00:00", "2024-01-02T01:00"]),
        (["2024-03-30T12:00+01:00", "2024-03-31T13:00+02:00"], ["2024-04-01T13:00+02:00"]),
        (["2023-11-30", "2023-12-31"], ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (["2023-09-30", "2023-10-30", "2023-11-30"], ["2023-12-30", "2024-01-30", "2024-02-29", "2024-03-30"]),
        (["2022-01-01", "2023-01-01", "2024-01-01"], ["2025-01-01", "2026-01-01"]),
        (["2023-10", "2023-11"], ["2023-12", "2024-01"]),
        (["2024-03-27", "2024-03-28", "2024-04-02", "2024-04-03"], ["2024-04-04", "2024-04-05", "2024-04-08"]),
    ],
)
def test_times_go_on_in_the_step_and_the_form_that_they_have(
    times: list[str], following: list[str], tmp_path: Path
) -> None:
    series = series_of(tmp_path, *times)
    assert series.x.tolist() == list(range(len(times)))
    assert [str(t) for t in series.future(len(following)).tolist()] == following
    assert len(series_of(tmp_path, *times, *following).time) == len(times) + len(following)


@pytest.mark.parametrize(
    "times",
    [
        ["0", str(2**62)],
        ["0.0", "1e308"],
        ["9998-12-30", "9998-12-31"],
        ["9998-12-30T00:00+01:00", "9998-12-31T00:00+01:00"],
    ],
)
def test_times_that_cannot_be_written_any_more_are_an_error(times: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"366 steps after .* end beyond"):
        series_of(tmp_path, *times).future(366)


def test_a_pipe_and_a_link_out_of_the_folder_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/own").mkdir(parents=True)
    os.mkfifo("data/own/pipe.csv")
    Path("s.csv").write_text("time,value\n1,2\n2,3\n")
    Path("data/own/link.csv").symlink_to(tmp_path / "s.csv")
    for name, words in (("pipe", "not a file"), ("link", "a link that leads out")):
        with pytest.raises(ValueError, match=rf"{name}\.csv: {words}"):
            read_own_series("data/own", SeriesParams(csv=f"data/own/{name}.csv", noise_std=0.0))


def test_a_line_or_the_value_before_fills_gaps(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("time,value\nJan-24,NA\nFeb-24,2.0\nMar-24,\nJun-24,6.0\nJul-24,n/a\n")
    linear, previous = (read_series(path, Layout(fill=fill)) for fill in ("linear", "previous"))
    assert linear.time.tolist() == ["Feb-24", "Mar-24", "Apr-24", "May-24", "Jun-24"]
    assert linear.x.tolist() == [2, 3, 4, 5, 6]
    assert previous.x.tolist() == [2, 2, 2, 2, 6]
    assert linear.future(1).tolist() == ["Jul-24"]


@pytest.mark.parametrize(
    ("times", "seasons"),
    [
        (["2024-01", "2024-02", "2024-03"], (12,)),
        (["2024-01-01", "2024-04-01", "2024-07-01"], (4,)),
        (["2022-01-01", "2023-01-01", "2024-01-01"], ()),
        (["2024-01-01", "2024-01-08", "2024-01-15"], (52,)),
        (["2024-01-01", "2024-01-02", "2024-01-03"], (7,)),
        (["2024-03-27", "2024-03-28", "2024-04-02", "2024-04-03"], (5,)),
        (["2024-01-01T00:00", "2024-01-01T01:00"], (24, 168)),
        (["2024-01-01T00:00", "2024-01-01T00:30"], (48, 336)),
        (["2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 02:00", "2024-10-27 03:00"], (24, 168)),
        (["1949", "1950", "1951"], ()),
        (["1949.0", "1949.25", "1949.5"], (4,)),
        (["1", "2", "3"], ()),
    ],
)
def test_the_calendar_has_the_seasons_of_its_step_before_and_after_saving(
    times: list[str], seasons: tuple[int, ...], tmp_path: Path
) -> None:
    series = series_of(tmp_path, *times)
    assert series.seasons == seasons
    series.in_iso().save(tmp_path / "saved.csv")
    assert calendar_seasons(Series.load(tmp_path / "saved.csv").time) == seasons


@pytest.mark.parametrize(
    ("written", "saved"),
    [
        (["1998Q1", "1998Q2"], ["1998-01-01", "1998-04-01"]),
        (["Jan-49", "Feb-49"], ["1949-01", "1949-02"]),
        (["2024-W01", "2024-W02"], ["2024-01-01", "2024-01-08"]),
        (["31.01.2024 5:30", "31.01.2024 6:30"], ["2024-01-31T05:30:00", "2024-01-31T06:30:00"]),
        (["2024-03-01 00:00+0100", "2024-03-02 00:00+0100"], ["2024-03-01T00:00:00+01:00"]),
        (["202401", "202402", "202403"], ["2024-01", "2024-02"]),
    ],
)
def test_dates_are_saved_in_iso_form(written: list[str], saved: list[str], tmp_path: Path) -> None:
    assert series_of(tmp_path, *written).in_iso().time.tolist()[: len(saved)] == saved


def test_rows_read_as_consecutive_have_their_seasons_after_saving(tmp_path: Path) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 29) if day % 7]  # Sundays are left out
    hours = [
        f"{day} {hour:02d}:30" for day in days if day[-2:] not in ("06", "13", "20", "27") for hour in (9, 10, 11)
    ]
    for times, seasons in ((days, (6,)), (hours, (3, 15))):
        series = series_of(tmp_path, *times, layout=Layout(steps="rows"))
        assert series.seasons == seasons
        series.in_iso().save(tmp_path / "saved.csv")
        assert calendar_seasons(Series.load(tmp_path / "saved.csv").time) == seasons


def test_the_decimals_of_the_values_are_counted(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,value\n2020,1.5\n2021,2.25\n2022,3\n")
    assert read_series(tmp_path / "s.csv").decimals == 2
    (tmp_path / "s.csv").write_text("time,value\n2020,1e3\n2021,2.25\n2022,3\n")
    assert read_series(tmp_path / "s.csv").decimals is None
