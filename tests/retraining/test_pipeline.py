import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from timemachine.retraining import pipeline as pipeline_module
from timemachine.retraining.pipeline import Pipeline


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    return path


def write(path: Path, pid: int) -> None:
    owner = {"pid": pid, "cmd": "dvc repro"}
    path.write_text(json.dumps({"read": {"data/text": [owner]}, "write": {"data/models": owner}}))


def test_the_lock_of_a_living_dvc_stays(locked: Path, tmp_path: Path) -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, "dvc"], stdin=pipe, stdout=pipe) as living:
        assert living.stdout
        living.stdout.readline()
        write(locked, living.pid)
        Pipeline(tmp_path, 0).forget_the_dead()
        assert locked.exists()
        # Dead, and nobody has taken note of it yet.
        living.kill()
        while Path(f"/proc/{living.pid}/stat").read_text().split()[2] != "Z":
            pass
        Pipeline(tmp_path, 0).forget_the_dead()
        assert not locked.exists()


def test_a_lock_whose_number_somebody_else_has_now_is_taken_away(locked: Path, tmp_path: Path) -> None:
    write(locked, os.getppid())
    Pipeline(tmp_path, 0).forget_the_dead()
    assert not locked.exists()


@pytest.mark.parametrize("content", ["", '{"read": {"da', '{"write": 3}', "[]"])
def test_a_lock_file_cut_off_in_the_middle_is_taken_away(
    locked: Path, tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "_WRITING_S", 0.0)
    locked.write_text(content)
    Pipeline(tmp_path, 0).forget_the_dead()
    assert not locked.exists()


def test_without_a_lock_nothing_happens(tmp_path: Path) -> None:
    Pipeline(tmp_path, 0).forget_the_dead()


def test_dvcs_own_words_are_the_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dvc status --json: .*not inside of a DVC repository"):
        Pipeline(tmp_path, 0).changed_stages()


def test_a_lock_is_kept_by_a_child_that_outlives_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from timemachine.retraining.lock import one_at_a_time\n"
        "with one_at_a_time(Path()) as lock:\n"
        "    subprocess.Popen(['sleep', '60'], pass_fds=[lock], stdout=subprocess.DEVNULL)\n"
        "    print(flush=True); os.kill(os.getpid(), 9)\n"
    )
    from timemachine.retraining.lock import BusyError, one_at_a_time

    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    parent.wait()
    with pytest.raises(BusyError), one_at_a_time(tmp_path):
        pass
    os.killpg(parent.pid, 9)
    # Freed as soon as the kernel has ended the child.
    while True:
        try:
            with one_at_a_time(tmp_path):
                break
        except BusyError:
            pass
