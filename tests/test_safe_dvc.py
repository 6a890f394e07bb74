import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from timemachine import handover, safe_dvc
from timemachine.safe_dvc import forget_the_dead


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
        forget_the_dead(tmp_path)
        assert locked.exists()
        # Dead, and nobody has taken note of it yet.
        living.kill()
        while Path(f"/proc/{living.pid}/stat").read_text().split()[2] != "Z":
            pass
        forget_the_dead(tmp_path)
        assert not locked.exists()


def test_a_lock_whose_number_somebody_else_has_now_is_taken_away(locked: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        write(locked, other.pid)
        forget_the_dead(tmp_path)
        assert not locked.exists()
        other.kill()


@pytest.mark.parametrize("content", ["", '{"read": {"da', '{"write": 3}', "[]"])
def test_a_lock_file_cut_off_in_the_middle_is_taken_away(
    locked: Path, tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safe_dvc, "_WRITING_S", 0.0)
    locked.write_text(content)
    forget_the_dead(tmp_path)
    assert not locked.exists()


def test_without_a_lock_nothing_happens(tmp_path: Path) -> None:
    forget_the_dead(tmp_path)


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return safe_dvc.run(folder, *arguments, capture_output=True)


def test_dvc_puts_a_new_lock_file_in_the_place_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo a > a, outs: [a]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    assert dvc(tmp_path, "repro").returncode == 0
    lock = tmp_path / "dvc.lock"
    (tmp_path / "same").hardlink_to(lock)
    before = lock.read_text()
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo b > a, outs: [a]}}\n")
    assert dvc(tmp_path, "repro").returncode == 0
    assert "echo b" in lock.read_text()
    assert (tmp_path / "same").read_text() == before
    assert dvc(tmp_path, "status").stdout.startswith("Data and pipelines are up to date")


@pytest.mark.parametrize("left", ["nothing", "temporary", "cut", "half", "noise"])
def test_a_run_that_dvc_did_not_note_whole_is_run_and_noted_again(tmp_path: Path, left: str) -> None:
    (tmp_path / "text").write_text("one")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: cat text | tee a > b, deps: [text], outs: [a, b]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    assert dvc(tmp_path, "repro").returncode == 0
    (entry,) = tmp_path.glob(".dvc/cache/runs/*/*/*")
    whole = entry.read_bytes()
    without_b = whole[: whole.index(b"- path: b")]
    entry.unlink()
    damages = {"cut": without_b, "half": whole[:40], "noise": b"\xff\xfe\xfd"}
    if left in damages:
        entry.write_bytes(damages[left])
    elif left == "temporary":
        temporary = entry.with_name(".x.tmp")
        temporary.write_bytes(without_b)
        os.utime(temporary, (2**32, 2**32))  # always the newest
    for what_happens in ("Running stage 'a'", "Stage 'a' is cached"):
        for name in ("dvc.lock", "a", "b"):
            (tmp_path / name).unlink()
        done = dvc(tmp_path, "repro")
        assert done.returncode == 0, done.stderr
        assert what_happens in done.stdout
        assert (tmp_path / "b").read_text() == (tmp_path / "a").read_text() == "one"


def test_a_database_that_cannot_be_written_to_ends_dvc(tmp_path: Path) -> None:
    code = """if True:
        import sqlite3
        import diskcache
        from timemachine.safe_dvc import make_safe
        make_safe()
        cache = diskcache.Cache("hashes", timeout=0.1)
        other = sqlite3.connect("hashes/cache.db")
        other.execute("BEGIN IMMEDIATE")
        cache["data/text"] = "1234"
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.splitlines()[-1].endswith("hashes cannot be written to: database is locked")


TRAINING = """if True:
    from pathlib import Path
    import torch
    from timemachine.handover import STATES
    from timemachine.training import resume

    resume._SHARE = 1e9  # every epoch is worth a state
    with resume.Resumable(STATES / "this", "it", 3) as states:
        states.load()
        for epoch in range(states.num_restored, 3):
            states.update(resume.Snapshot(epoch + 1, {"weight": torch.zeros(1)}, {}))
        Path("epochs_restored").write_text(str(states.num_restored))
"""
KILLED_BEFORE_THE_LOCK = """if True:
    import os, signal
    from dvc.dvcfile import Lockfile
    from timemachine.safe_dvc import main
    Lockfile.dump_stages = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
    main()
"""


def test_a_training_that_is_done_but_not_in_the_lock_keeps_its_states(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: python train.py, outs: [epochs_restored]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    command = [sys.executable, "-c", KILLED_BEFORE_THE_LOCK, "repro"]
    killed = subprocess.run(command, cwd=tmp_path, env=safe_dvc.environment(), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert dvc(tmp_path, "repro").returncode == 0
    assert (tmp_path / "epochs_restored").read_text() == "3"
    assert list((tmp_path / handover.STATES).iterdir()) == []
