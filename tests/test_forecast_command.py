"""The command forecast, on files as people have them, in a folder without a repository."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from graph import ROOT

from timemachine import cli

SEASON = 100 + 20 * np.sin(2 * np.pi * np.arange(120) / 12)
MONTHS = [f"{2014 + i // 12}-{i % 12 + 1:02}-01" for i in range(120)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two years of months, newest first, as Excel writes them, and ten years without noise."""
    rows = [f"{i % 12 + 1:02d}/{2022 + i // 12};{100 + 10 * (i % 12)},5" for i in range(24)]
    (tmp_path / "sales.csv").write_text("\n".join(["Monat;Umsatz", *rows[::-1]]))
    rows = [f"{month},{x:.3f}" for month, x in zip(MONTHS, SEASON, strict=True)]
    (tmp_path / "own.csv").write_text("\n".join(["month,sold", *rows]))
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
    assert {row.split(",")[1] for row in rows} == {"210.5"}


def test_a_forecast_goes_on_after_the_series_in_a_table_and_a_figure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    forecast(monkeypatch, "own.csv", "--horizon", "13", "--interval", "0.9", "--verbose")
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["season: 12 steps", "mean absolute error over 60 rolling origins, up to 13 steps ahead:"]
    ranking = [line.split() for line in said[3:-2]]
    assert ["last_value", "15.50"] in ranking
    assert [words[2:] for words in ranking[:2]] == [["used"], ["used"]]
    assert max(map(len, said)) <= 80
    assert said[-2].startswith("coverage of the intervals of level 0.9: ")
    assert said[-1] == "own_forecast.csv and own_forecast.png"
    header, *rows = (folder / "own_forecast.csv").read_text().splitlines()
    assert header == "time,forecast,lower,upper"
    assert [row.split(",")[0] for row in (rows[0], rows[-1])] == ["2024-01-01", "2025-01-01"]
    values = np.array([row.split(",")[1:] for row in rows], dtype=float)
    assert values[3] == pytest.approx([120, 120, 120], abs=0.01)
    assert all(len(number.partition(".")[2]) == 3 for row in rows for number in row.split(",")[1:])
    assert (folder / "own_forecast.png").read_bytes().startswith(b"\x89PNG")


def test_every_series_of_a_file_is_forecast_in_one_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    rows = [
        f"{shop},{month},{x:.1f}"
        for shop, least in (("b", 40), ("a", 0))
        for month, x in zip(MONTHS[least:], SEASON[least:], strict=True)
    ]
    (folder / "shops.csv").write_text("\n".join(["shop,month,sold", *rows, "new,2023-12-01,7"]))
    with pytest.raises(SystemExit, match=r"no forecast for 1 of 3 series: new: .*1 row"):
        forecast(monkeypatch, "shops.csv", "--horizon", "2", "--all", "--id", "shop")
    assert capsys.readouterr().out.splitlines()[0] == "2 series, 2 steps each: shops_forecast.csv"
    header, *rows = (folder / "shops_forecast.csv").read_text().splitlines()
    assert header == "shop,time,forecast"
    assert [row.rpartition(",")[0] for row in rows] == [
        f"{shop},2024-{month}-01" for shop in "ba" for month in ("01", "02")
    ]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core forecasts in one process")
def test_after_an_interruption_no_process_is_left(folder: Path) -> None:
    rows = [f"{shop},{month},{x:.1f}" for shop in range(200) for month, x in zip(MONTHS, SEASON, strict=True)]
    (folder / "shops.csv").write_text("\n".join(["shop,month,sold", *rows]))
    # A shell starts what it runs in the background with SIGINT ignored.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [
        "-c",
        f"{listen}; from timemachine import cli; cli.main()",
        "forecast",
        "shops.csv",
        "--horizon",
        "12",
        "--all",
        "--id",
        "shop",
    ]
    process = psutil.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    )
    begin = time.monotonic()
    while len(workers := process.children()) < 3 and time.monotonic() < begin + 60:  # one of them counts resources
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=60) == ("", "timemachine: interrupted\n")
    assert process.returncode == 130
    assert len(workers) >= 3
    assert not psutil.wait_procs(workers, timeout=10)[1]


def test_a_trained_strategy_is_one_of_params_yaml(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    arguments = ["own.csv", "--horizon", "2", "--strategy", "recursive_mine"]
    with pytest.raises(SystemExit, match="recursive_mine: unknown strategy; choose from"):
        forecast(monkeypatch, *arguments)
    text = (ROOT / "params.yaml").read_text().replace("  linear: #", "  mine: #", 1)
    (folder / "params.yaml").write_text(
        text.replace("num_threads: 2", "num_threads: 1").replace("{linear: [", "{mine: [")
    )
    forecast(monkeypatch, *arguments)
    assert "recursive_mine" in capsys.readouterr().out


def test_a_params_yaml_that_is_wrong_does_not_matter_to_other_strategies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "params.yaml").write_text("series: [")
    forecast(monkeypatch, "own.csv", "--horizon", "2", "--strategy", "theta")
    assert (folder / "own_forecast.csv").exists()


def test_columns_are_listed_and_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    forecast(monkeypatch, "sales.csv", "--columns")
    month, sales = capsys.readouterr().out.splitlines()
    assert month.startswith("'Monat'   date: 12/2023, 11/2023, 10/2023")
    assert sales.startswith("'Umsatz'  number: 210,5, 200,5, 190,5")
    assert {path.name for path in folder.iterdir()} == {"sales.csv", "own.csv"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sales.csv"], "--horizon is missing"),
        (["sales.csv", "--horizon", "3", "--where", "land"], "--where: 'land' is not COLUMN=VALUE"),
        (
            ["sales.csv", "--horizon", "3", "--where", "land=DE"],
            "sales.csv: no column 'land'; it has 'Monat', 'Umsatz'",
        ),
        (["own.csv", "--horizon", "0"], "--horizon: 0 is not from 1 to 10000"),
        (["own.csv", "--horizon", "3", "--interval", "1"], "--interval: 1.0 is not between 0 and 1"),
        (["none.csv", "--horizon", "3"], "none.csv: no such file"),
        (["own.csv", "--horizon", "121"], "own.csv: --horizon: 121 is more than the 120 points of the series"),
        (["own.csv", "--horizon", "3", "--strategy", "best"], "own.csv: best: unknown strategy; choose from "),
        (["own.csv", "--horizon", "3", "--output", "own.csv"], "own.csv: the output would overwrite"),
        (
            ["own.csv", "--horizon", "3", "--strategy", "mean", "--output", "own.csv/f.csv"],
            "own.csv/f.csv: cannot be written: ",
        ),
        (["own.csv", "--horizon", "3", "--all"], "--all and --id go together"),
        (["own.csv", "--horizon", "3", "--all", "--id", "shop"], "own.csv: no column 'shop'"),
        (["own.csv", "--horizon", "3", "--lower", "90"], "own.csv: --lower: the series has values below 90"),
        (["https://example.org/sales.csv", "--horizon", "3"], "https://example.org/sales.csv: URLs are not read"),
        ([".", "--horizon", "3"], ".: this is a folder"),
    ],
)
def test_what_cannot_be_forecast_is_one_line(
    arguments: list[str], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as ended:
        forecast(monkeypatch, *arguments)
    assert sorted(folder.iterdir()) == before
    assert str(ended.value).startswith(f"timemachine: error: {words}")
    assert "\n" not in str(ended.value)
