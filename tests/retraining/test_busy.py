"""A round that meets a DVC that somebody runs in the repository."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from tiny import git, make_project, tiny_text

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc
from timemachine.pipeline.processes import describe
from timemachine.retraining import round as one_round
from timemachine.retraining.busy import BUSY, BusyError, check_no_dvc, when_free

pytestmark = pytest.mark.slow

# A stage that runs until somebody writes the file `go`.
WAITS = (
    "import pathlib, time\npathlib.Path('begun').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with a text in its inbox, and a graph of one stage that waits."""
    make_project(tmp_path)
    (tmp_path / "waits.py").write_text(WAITS)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"slow": {"cmd": "python waits.py"}}}))
    (tmp_path / "data/inbox").mkdir(parents=True)
    (tmp_path / "data/inbox/new.txt").write_text(tiny_text(1000, seed=1))
    git(tmp_path, "init", "--quiet")
    dvc.run(tmp_path, "init", "--quiet").check_returncode()
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "slow"],
        cwd=folder,
        env=dvc.child_environment(),
        stdout=subprocess.DEVNULL,
    )
    while not (folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    (folder / "go").touch()
    process.wait()


def test_a_round_ends_with_12_names_the_dvc_in_one_line_and_leaves_the_inbox(
    folder: Path, running: "subprocess.Popen[bytes]", capfd: pytest.CaptureFixture[str]
) -> None:
    for command in (one_round.run_round, one_round.dry_run):
        assert command(folder) == BUSY
        line = f"timemachine: DVC is running in this repository: PID {running.pid} (dvc repro slow)\n"
        assert capfd.readouterr().err == line
    assert (folder / "data/inbox/new.txt").exists()
    assert not (folder / "data/accepted/new.txt").exists()


def test_a_round_that_waits_goes_on_when_the_dvc_has_ended(
    folder: Path, running: "subprocess.Popen[bytes]"
) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("waiting"):
            (folder / "go").touch()

    assert one_round.dry_run(folder, say, wait_minutes=5) == one_round.PROMOTED
    assert said[0] == f"waiting: DVC is running in this repository: PID {running.pid} (dvc repro slow)"
    assert "new.txt: accepted" in said


def test_waiting_ends_after_its_time(folder: Path, running: "subprocess.Popen[bytes]") -> None:
    said: list[str] = []
    begun_s = time.monotonic()
    assert one_round.dry_run(folder, said.append, wait_minutes=0.02) == BUSY
    assert time.monotonic() - begun_s >= 1.2
    assert len(said) == 1


def test_a_rollback_does_not_mind_a_running_dvc(folder: Path, running: "subprocess.Popen[bytes]") -> None:
    with pytest.raises(UserError, match=r"^nothing to roll back to: there is no champion"):
        one_round.undo_promotion(folder)


def test_a_dvc_elsewhere_and_the_process_itself_do_not_count(
    folder: Path, running: "subprocess.Popen[bytes]", tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_no_dvc(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(BusyError, match=f"PID {running.pid} "):
        check_no_dvc(folder)


def test_each_process_that_is_waited_for_is_named_once() -> None:
    answers: Iterator[str] = iter(["a", "a", "b"])
    said: list[str] = []

    def act() -> int:
        for answer in answers:
            raise BusyError(answer)
        return 0

    quick: Callable[[float], None] = lambda _: None  # noqa: E731
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(time, "sleep", quick)
        assert when_free(act, 1.0, said.append) == 0
    assert said == ["waiting: a", "waiting: b"]


def test_a_process_is_described_by_its_command_on_one_line() -> None:
    command = [sys.executable, "-c", "input('a\\n\x1b')", "x" * 200]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)  # a process that has just started may not show its command yet
    said = describe(process.pid)
    process.communicate(b"\n")
    assert said.startswith(f"PID {process.pid} (")
    assert said.isprintable()
    assert said.endswith("…)")
    assert len(said) < 110
    assert describe(psutil.pids()[-1] + 1_000_000).endswith("(its command is hidden)")
