"""The command forecast, on files as people have them, in a folder without a repository."""

import sys
from pathlib import Path

import pytest

from timemachine import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two years of months, newest first, as Excel writes them."""
    rows = [f"{i % 12 + 1:02d}/{2022 + i // 12};{100 + 10 * (i % 12)},5" for i in range(24)]
    (tmp_path / "sales.csv").write_text("\n".join(["Monat;Umsatz", *rows[::-1]]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def forecast(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["timemachine", "forecast", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    if ended.value.code:
        raise ended.value


def test_a_file_is_forecast_without_a_repository_and_without_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast(monkeypatch, "sales.csv", "--horizon", "3", "--strategy", "last_value")
    header, *rows = (folder / "sales_forecast.csv").read_text().splitlines()
    assert header == "time,forecast"
    assert [row.split(",")[0] for row in rows] == ["01/2024", "02/2024", "03/2024"]
    assert {float(row.split(",")[1]) for row in rows} == {210.5}


def test_columns_are_listed_and_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    forecast(monkeypatch, "sales.csv", "--columns")
    month, sales = capsys.readouterr().out.splitlines()
    assert month.startswith("'Monat'   date: 12/2023, 11/2023, 10/2023")
    assert sales.startswith("'Umsatz'  number: 210,5, 200,5, 190,5")
    assert [path.name for path in folder.iterdir()] == ["sales.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sales.csv"], "--horizon is missing"),
        (["sales.csv", "--horizon", "3", "--where", "land"], "--where: 'land' is not COLUMN=VALUE"),
        (
            ["sales.csv", "--horizon", "3", "--where", "land=DE"],
            "sales.csv: no column 'land'; it has 'Monat', 'Umsatz'",
        ),
        (["https://example.org/sales.csv", "--horizon", "3"], "https://example.org/sales.csv: URLs are not read"),
        ([".", "--horizon", "3"], ".: this is a folder"),
    ],
)
def test_what_cannot_be_forecast_is_one_line(
    arguments: list[str], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        forecast(monkeypatch, *arguments)
    assert str(ended.value).startswith(f"timemachine: error: {words}")
    assert "\n" not in str(ended.value)
