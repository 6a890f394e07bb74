import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc
from timemachine.retraining import commands
from timemachine.retraining.busy import BusyError, one_at_a_time, when_free
from timemachine.retraining.commands import notify, run_dvc
from timemachine.retraining.round import run_round

KEEP = "import sys; open('told', 'w').write(sys.stdin.read())"


def test_the_command_gets_the_report_as_json(tmp_path: Path) -> None:
    notify([sys.executable, "-c", KEEP], {"verdict": "promoted", "val": None}, tmp_path)
    assert json.loads((tmp_path / "told").read_text()) == {"verdict": "promoted", "val": None}


def test_a_command_with_an_open_quotation_is_refused_before_the_round_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--notify: No closing quotation") as refused:
        run_round(tmp_path, "mail 'hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("command", "timeout_s", "warning"),
    [
        (["/nowhere/at/all"], 30, "No such file"),
        ([sys.executable, "-c", "raise SystemExit(3)", "hunter2"], 30, "exit code 3"),
        ([sys.executable, "-c", "import time; time.sleep(60)", "hunter2"], 0.5, "timed out after 0.5 seconds"),
    ],
)
def test_whatever_it_does_is_at_most_a_warning_that_shows_no_argument(
    command: list[str], timeout_s: float, warning: str, tmp_path: Path, capfd, monkeypatch
) -> None:
    monkeypatch.setattr(commands, "_TIMEOUT_S", timeout_s)
    notify(command, {"text": "x" * 1_000_000}, tmp_path)
    said = capfd.readouterr().err
    assert said.startswith("timemachine: warning: ")
    assert warning in said
    assert len(said.splitlines()) == 1
    assert "hunter2" not in said


@pytest.mark.slow
def test_dvcs_own_words_are_the_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dvc status --json: .*not inside of a DVC repository"):
        run_dvc(tmp_path, 1.0, "status", "--json")


@pytest.mark.slow
def test_a_dvc_that_does_not_end_in_time_is_ended_with_its_stage(tmp_path: Path) -> None:
    dvc.run(tmp_path, "init", "--no-scm", "--quiet").check_returncode()
    (tmp_path / "sleeps.py").write_text("import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)")
    (tmp_path / "dvc.yaml").write_text("stages: {slow: {cmd: python sleeps.py, outs: [slow]}}")
    limit_s = 3.0
    with one_at_a_time(tmp_path) as lock:
        while not (tmp_path / "begun").exists():  # on a busy machine DVC takes long to start
            with pytest.raises(UserError, match=r"^dvc repro did not end within .*\(retraining.max_hours\)"):
                run_dvc(tmp_path, limit_s / 3600, "repro", lock=lock)
            limit_s *= 2
    running = [process.info["cwd"] for process in psutil.process_iter(["cwd"])]
    assert str(tmp_path) not in running


def held(folder: Path) -> int:
    with one_at_a_time(folder):
        return 0


@pytest.mark.slow
def test_a_lock_is_kept_by_a_child_that_outlives_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from timemachine.retraining.busy import one_at_a_time\n"
        "with one_at_a_time(Path()) as lock:\n"
        "    subprocess.Popen(['sleep', '60'], pass_fds=[lock], stdout=subprocess.DEVNULL)\n"
        "    print(flush=True); os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    parent.wait()
    with pytest.raises(BusyError, match="another round is running"), one_at_a_time(tmp_path):
        pass
    os.killpg(parent.pid, 9)
    # Freed as soon as the kernel has ended the child.
    assert when_free(lambda: held(tmp_path), 1.0, print) == 0
