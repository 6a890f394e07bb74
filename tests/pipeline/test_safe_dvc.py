import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from timemachine.pipeline import handover, safe_dvc
from timemachine.pipeline.safe_dvc import forget_the_dead


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
        from timemachine.pipeline.safe_dvc import make_safe
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
    import os
    from pathlib import Path
    import torch
    from timemachine.pipeline.handover import STATES
    from timemachine.training import resume

    resume._SHARE = 1e9  # every epoch is worth a state
    with resume.Resumable(STATES / "this", "it", 3, os.environ.get("DVC_STAGE")) as states:
        states.load()
        for epoch in range(states.num_restored, 3):
            states.update(resume.Snapshot(epoch + 1, {"weight": torch.zeros(1)}, {}))
        Path("epochs_restored").write_text(str(states.num_restored))
"""
KILLED = """if True:
    import os, signal, sys
    from dvc.dvcfile import Lockfile
    from timemachine.pipeline import handover
    from timemachine.pipeline.safe_dvc import main
    owner, name = {"before": (Lockfile, "dump_stages"), "after": (handover, "filed")}[sys.argv.pop(1)]
    setattr(owner, name, lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL))
    main()
"""


@pytest.mark.parametrize(("moment", "epochs_restored"), [("before", "3"), ("after", "0")])
def test_a_training_keeps_its_states_until_it_is_in_the_lock(
    tmp_path: Path, moment: str, epochs_restored: str
) -> None:
    (tmp_path / "train.py").write_text(TRAINING)
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: python train.py, outs: [epochs_restored]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    command = [sys.executable, "-c", KILLED, moment, "repro"]
    killed = subprocess.run(command, cwd=tmp_path, env=safe_dvc.environment(), capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(tmp_path.glob(f"{handover.STATES}/this/epoch-*"))) == 2
    assert dvc(tmp_path, "repro").returncode == 0
    assert (tmp_path / "epochs_restored").read_text() == epochs_restored
    assert list((tmp_path / handover.STATES).iterdir()) == []


def test_results_are_on_the_disk_before_the_lock_names_them(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo a > a, outs: [a]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    code = """if True:
        import os
        from timemachine.pipeline.safe_dvc import main
        sync = os.sync
        os.sync = lambda: (sync(), print("synced:", sorted(os.listdir())))
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code, "repro"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "synced: ['.dvc', '.dvcignore', 'a', 'dvc.yaml']" in done.stdout
    assert (tmp_path / "dvc.lock").exists()


@pytest.mark.parametrize("workspace", ["whole", "damaged", "gone", "of other params"])
def test_what_is_damaged_in_the_cache_is_made_again(tmp_path: Path, workspace: str) -> None:
    (tmp_path / "text").write_text("one")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  file: {cmd: cp text a, deps: [text], outs: [a]}\n"
        "  folder: {cmd: mkdir b; cp text b/c; echo two > b/d, deps: [text], outs: [b]}\n"
    )
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    assert dvc(tmp_path, "repro").returncode == 0
    if workspace == "of other params":
        (tmp_path / "text").write_text("three")
        assert dvc(tmp_path, "repro").returncode == 0
        (tmp_path / "text").write_text("one")
    cached = list(tmp_path.glob(".dvc/cache/files/md5/*/*"))
    assert len(cached) >= 3
    for path in cached:
        assert path.stat().st_mode & 0o777 == 0o444
        path.chmod(0o644)
        path.write_text("")
        path.chmod(0o444)
    if workspace == "damaged":
        (tmp_path / "a").write_text("")
        (tmp_path / "b/c").write_text("")
    elif workspace == "gone":
        (tmp_path / "a").unlink()
        shutil.rmtree(tmp_path / "b")
    done = dvc(tmp_path, "repro")
    assert done.returncode == 0, done.stderr
    for path in ("a", "b/c"):
        assert (tmp_path / path).read_text() == "one"
    assert dvc(tmp_path, "status").stdout.startswith("Data and pipelines are up to date")
    shutil.rmtree(tmp_path / "b")
    assert dvc(tmp_path, "checkout").returncode == 0
    assert (tmp_path / "b/c").read_text() == "one"


def test_a_stage_does_not_see_variables_that_change_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_THREAD_LIMIT", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "OTHER"):
        monkeypatch.setenv(name, "1")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: env > a, outs: [a]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    assert dvc(tmp_path, "repro").returncode == 0
    seen = (tmp_path / "a").read_text()
    assert [name for name in ("OMP_", "MKL_", "ONEDNN_", "OTHER") if f"\n{name}" in f"\n{seen}"] == ["OTHER"]


def test_params_that_dvc_would_choke_on_end_in_one_line(tmp_path: Path) -> None:
    aliases = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9))
    (tmp_path / "params.yaml").write_text(f"a0: &a0 [x]\n{aliases}")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/check.py").touch()
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo a > a, params: [a9], outs: [a]}}\n")
    assert dvc(tmp_path, "init", "--no-scm").returncode == 0
    for command in (["repro"], ["exp", "run"]):
        done = dvc(tmp_path, *command)
        assert done.returncode == 1
        assert done.stderr.startswith("dvc: error: params.yaml: compute: missing; ")
        assert done.stderr.count("\n") == 1
