"""The console script and the progress of long work."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graph import ROOT
from tiny import tiny_params, write_params

from timemachine import cli
from timemachine.pipeline.progress import show_progress


def timemachine(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "timemachine.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_users_mistake_ends_in_one_line_and_debug_shows_where(tmp_path: Path) -> None:
    write_params(tmp_path, tiny_params() | {"publish": {}})
    done = timemachine(tmp_path, "publish")
    assert done.returncode == 1
    assert done.stderr.startswith("timemachine: error: ")
    assert done.stderr.rstrip().endswith("params.yaml: publish.experiment: missing")
    assert "Traceback" in timemachine(tmp_path, "--debug", "publish").stderr


def test_without_arguments_it_lists_its_commands(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["timemachine"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "publish" in capsys.readouterr().out


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped params and ten years of months, in which one stands."""
    (tmp_path / "params.yaml").write_text(
        (ROOT / "params.yaml").read_text().replace("num_threads: 2", "num_threads: 1")
    )
    season = 100 + 20 * np.sin(2 * np.pi * np.arange(120) / 12)
    months = [f"{2014 + i // 12}-{i % 12 + 1:02}-01" for i in range(120)]
    rows = "".join(f"{month},{x}\n" for month, x in zip(months, season, strict=True))
    (tmp_path / "own.csv").write_text(f"month,sold\n{rows}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_forecast(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    columns = ["--time", "month", "--value", "sold"]
    monkeypatch.setattr(sys, "argv", ["timemachine", "forecast", *columns, *arguments])
    cli.main()


def test_a_forecast_goes_on_after_the_series_in_a_table_and_a_figure(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_forecast(monkeypatch, "own.csv", "--horizon", "13", "--interval", "0.9")
    assert not ended.value.code
    said = capsys.readouterr().out.splitlines()
    assert "last value 19.44, over 60 rolling origins, up to 13 steps ahead" in said[0]
    assert said[1].startswith("coverage of the intervals of level 0.9: 0.")
    assert said[2] == "own_forecast.csv and own_forecast.png"
    header, *rows = (own / "own_forecast.csv").read_text().splitlines()
    assert header == "time,forecast,lower,upper"
    assert [row.split(",")[0] for row in (rows[0], rows[-1])] == ["2024-01-01", "2025-01-01"]
    values = np.array([row.split(",")[1:] for row in rows], dtype=float)
    assert values[3] == pytest.approx([120, 120, 120], abs=1e-3)
    assert (own / "own_forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["own.csv", "--horizon", "0"], "--horizon: 0 is not from 1 to 10000"),
        (["own.csv", "--horizon", "3", "--interval", "1"], r"--interval: 1\.0 is not between 0 and 1"),
        (["none.csv", "--horizon", "3"], "none.csv: no such file"),
        (["own.csv", "--horizon", "113"], "own.csv: 120 points are too few for 113 steps"),
        (["own.csv", "--horizon", "3", "--strategy", "best"], "own.csv: best: unknown strategy; choose from "),
        (["own.csv", "--horizon", "3", "--output", "own.csv"], "own.csv: the output would overwrite"),
        (
            ["own.csv", "--horizon", "3", "--strategy", "mean", "--output", "own.csv/f.csv"],
            "own.csv/f.png: cannot be written: ",
        ),
    ],
)
def test_a_forecast_that_cannot_be_made_is_one_line(
    arguments: list[str], words: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(own.iterdir())
    with pytest.raises(SystemExit, match=f"^timemachine: error: {words}") as ended:
        run_forecast(monkeypatch, *arguments)
    assert "\n" not in str(ended.value)
    assert sorted(own.iterdir()) == before


# Prints the threads of torch, if it is imported, and of all BLAS and OpenMP libraries at the end of a command.
SHOW_THREADS = """if True:
    import atexit, sys
    from threadpoolctl import threadpool_info
    from timemachine import cli

    def show():
        numbers = {library["num_threads"] for library in threadpool_info()}
        if torch := sys.modules.get("torch"):
            numbers.add(torch.get_num_threads())
        print(*numbers, file=sys.stderr)

    atexit.register(show)
    cli.main()
"""


def threads(folder: Path, *arguments: str) -> str:
    """Run a command and return the numbers of threads that it computed with."""
    command = [sys.executable, "-c", SHOW_THREADS, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr.strip()


@pytest.mark.slow
def test_generating_uses_the_threads_of_params_or_one_without_params(finished: Path, tmp_path: Path) -> None:
    arguments = ("generate", "time", "--model", str(finished / "data/models/rnn/gated"))
    assert threads(tmp_path, *arguments) == "1"
    (tmp_path / "params.yaml").write_text("compute:\n  num_threads: 3\n  deterministic: true\n")
    assert threads(tmp_path, *arguments) == "3"


@pytest.mark.slow
def test_forecasting_uses_the_threads_of_params(own: Path) -> None:
    text = (own / "params.yaml").read_text()
    (own / "params.yaml").write_text(text.replace("num_threads: 1", "num_threads: 3"))
    arguments = ["--time", "month", "--value", "sold", "--horizon", "3", "--strategy", "harmonic"]
    assert threads(own, "forecast", "own.csv", *arguments) == "3"


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys) -> None:
    with show_progress("model", 3) as show:
        for epoch in (1, 2, 3):
            show(epoch, perplexity=1.5, tokens_per_s=12345.6)
    assert capsys.readouterr().err.splitlines() == [
        "model: epoch 1/3, perplexity 1.500, tokens per s 12,346",
        "model: epoch 3/3, perplexity 1.500, tokens per s 12,346",
    ]
