"""The console script."""

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from graph import ROOT
from tiny import tiny_params, write_params

from timemachine import cli


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
    assert said[0] == "RMSE over 60 rolling origins, up to 13 steps ahead:"
    ranking = [line.split() for line in said[1:-2]]
    assert ["last_value", "19.44"] in ranking
    assert [words[2:] for words in ranking] == [["chosen"]] + [[]] * (len(ranking) - 1)
    assert max(map(len, said)) <= 80
    assert said[-2].startswith("coverage of the intervals of level 0.9: 0.")
    assert said[-1] == "own_forecast.csv and own_forecast.png"
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
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr.splitlines()[-1]


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


def complete(folder: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words."""
    environment = {"COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}
    environment |= {"_TIMEMACHINE_COMPLETE": "complete_bash"}
    code = "from timemachine import cli; cli.app(prog_name='timemachine')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_commands_and_the_names_of_params(tmp_path: Path) -> None:
    write_params(tmp_path, tiny_params())
    assert complete(tmp_path, "timemachine", "pub") == ["publish"]
    assert complete(tmp_path, "timemachine", "params", "train_rnn.w") == ["train_rnn.windowed"]
    assert complete(tmp_path, "timemachine", "generate", "a", "--model", "c") == [
        "champion",
        "challenger",
        "context_mixing",
        "carried",
    ]
    (tmp_path / "params.yaml").write_text("a: [")
    assert complete(tmp_path, "timemachine", "generate", "a", "--model", "p") == ["previous"]


def test_the_version_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["timemachine", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out == f"timemachine {metadata.version('timemachine')}\n"


@pytest.mark.parametrize("arguments", [["compare"], ["generate", "a", "--model", "lstm"]])
def test_outside_the_repository_a_command_says_so(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["timemachine", *arguments])
    with pytest.raises(SystemExit, match=r"error: .*params\.yaml: no such file; run this in the repository root$"):
        cli.main()


def test_a_report_is_not_written_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["timemachine", "report", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: --output: .* is a folder; give the name of a file$"):
        cli.main()
