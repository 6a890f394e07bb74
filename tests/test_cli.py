"""The console script and the progress of long work."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny_params, write_params

from timemachine import cli
from timemachine.progress import Progress


def timemachine(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "timemachine.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


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


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys) -> None:
    with Progress("model", 3) as progress:
        for epoch in (1, 2, 3):
            progress.update(epoch, perplexity=1.5, tokens_per_s=12345.6)
    assert capsys.readouterr().err.splitlines() == [
        "model: epoch 1/3, perplexity 1.500, tokens per s 12,346",
        "model: epoch 3/3, perplexity 1.500, tokens per s 12,346",
    ]
