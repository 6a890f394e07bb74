"""The console script."""

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
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
