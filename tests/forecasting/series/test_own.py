import os
from pathlib import Path

import numpy as np
import pytest

from timemachine.forecasting.series.own import future_times, read_csv, read_csv_within
from timemachine.forecasting.series.source import Series


@pytest.mark.parametrize(
    "times",
    [
        ["1", "2", "3"],
        ["0.5", "1.0", "1.5"],
        ["1700000000.0", "1700000000.1", "1700000000.2"],
        ["1700000000000000000", "1700000000000000001", "1700000000000000002"],
        ["2024-03-30T12:00+01:00", "2024-03-31T12:00+01:00", "2024-04-01T13:00+02:00"],
        ["2024-01-31", "2024-02-29", "2024-03-31"],
        ["2024-01-01", "2024-01-02"],
        ["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T02:00"],
        ["2024-03-27", "2024-03-28", "2024-04-02", "2024-04-03"],  # Easter
    ],
)
def test_equal_steps_of_numbers_hours_months_and_work_days_are_read(times: list[str], tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("when,what\n" + "".join(f"{t},{i}\n" for i, t in enumerate(times)))
    assert read_csv(path, "when", "what").x.tolist() == list(range(len(times)))


BAD = {
    "text among the numbers": ("t,x\n1,2\n2,high\n3,4\n", ["column 'x', row 2", "'high'"]),
    "an empty value": ("t,x\n1,2\n2,\n3,4\n", ["column 'x', row 2", "''"]),
    "an infinite value": ("t,x\n1,2\n2,inf\n3,4\n", ["column 'x', row 2", "'inf'"]),
    "a gap in numbers": ("t,x\n1,2\n2,3\n4,4\n5,1\n6,1\n", ["column 't', row 3", "gap", "'2' to '4'"]),
    "a gap in dates": (
        "t,x\n2024-01-01,2\n2024-01-02,3\n2024-01-05,4\n2024-01-06,1\n",
        ["column 't', row 3", "gap", "2024-01-05"],
    ),
    "a week without a Monday": (
        "t,x\n2024-01-01,2\n2024-01-08,3\n2024-01-15,4\n2024-01-29,1\n",
        ["row 4", "gap"],
    ),
    "a time twice": ("t,x\n1,2\n1,3\n", ["column 't', row 2", "does not rise"]),
    "dates that fall": ("t,x\n2024-01-02,2\n2024-01-01,3\n", ["row 2", "does not rise"]),
    "a time that is none": ("t,x\n1,2\nsoon,3\n", ["column 't', row 1", "neither a number nor"]),
    "another column": ("t,y\n1,2\n2,3\n", ["no column 'x'", "'t', 'y'"]),
    "one row": ("t,x\n1,2\n", ["1 rows", "at least 2"]),
    "nothing": ("", ["not a CSV file"]),
    "rows wider than the header": ("t,x\n1,2,3\n2,3,4\n", ["not a CSV file"]),
    "a column twice": ("t,x,x\n1,2,3\n2,3,4\n", ["2 columns 'x'"]),
    "a ragged row": ("t,x\n1,2\n2,3,4\n", ["not a CSV file"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_csv_is_refused_with_column_and_row(case: str, tmp_path: Path) -> None:
    content, words = BAD[case]
    path = tmp_path / "s.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"s\.csv: ") as raised:
        read_csv(path, "t", "x")
    assert [word for word in words if word not in str(raised.value)] == []


def test_a_csv_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"s\.csv: no such file"):
        read_csv(tmp_path / "s.csv", "t", "x")
    (tmp_path / "s.csv").write_bytes(b"t,x\n1,\xff\n")
    with pytest.raises(ValueError, match="UTF-8"):
        read_csv(tmp_path / "s.csv", "t", "x")


def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.csv")
    with pytest.raises(ValueError, match=r"s\.csv: not a file"):
        read_csv_within(tmp_path, tmp_path / "s.csv", "t", "x")


def rows(*times: str) -> list[str]:
    return ["when,what", *(f"{t},{i}" for i, t in enumerate(times))]


@pytest.mark.parametrize(
    ("times", "following"),
    [
        (["1", "3", "5"], ["7", "9", "11"]),
        (["0.1", "0.2", "0.3"], ["0.4", "0.5", "0.6"]),
        (["1700000000000000000", "1700000000000000001"], ["1700000000000000002", "1700000000000000003"]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01", "2024-03-02"]),
        (["2024-01-01T22:00", "2024-01-01T23:00"], ["2024-01-02T00:00:00", "2024-01-02T01:00:00"]),
        (["2024-03-30T12:00+01:00", "2024-03-31T13:00+02:00"], ["2024-04-01T11:00:00Z"]),
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
    (tmp_path / "s.csv").write_text("\n".join(rows(*times)))
    series = read_csv(tmp_path / "s.csv", "when", "what")
    assert [str(t) for t in future_times(series, len(following)).tolist()] == following
    (tmp_path / "s.csv").write_text("\n".join(rows(*times, *following)))
    assert len(read_csv(tmp_path / "s.csv", "when", "what").time) == len(times) + len(following)


@pytest.mark.parametrize("times", [[0, 2**62], [0.0, 1e308], ["9998-12-30", "9998-12-31"]])
def test_times_that_cannot_be_written_any_more_are_an_error(times: list[object]) -> None:
    with pytest.raises(ValueError, match=r"366 steps after .* end beyond"):
        future_times(Series(np.array(times), np.zeros(2)), 366)
