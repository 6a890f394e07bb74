import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from small_pipeline import GRAPH, TEXT, dvc, goes_on, make_small_pipeline, mended, repro_broken_off, try_dvc
from tiny import git, tiny_params, write_params

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc as dvc_command
from timemachine.pipeline import repair
from timemachine.pipeline.processes import is_dvc

pytestmark = pytest.mark.slow

LOCK = ".dvc/tmp/rwlock"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_small_pipeline(tmp_path_factory.mktemp("repair") / "finished")
    dvc(folder, "repro")
    assert mended(folder) == []
    return folder


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A repository in which everything has run, to be broken."""
    return Path(shutil.copytree(finished, tmp_path / "root"))


def overwrite(path: Path, content: bytes) -> None:
    """Change a file that is read-only, and leave it so."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def after_a_new_boot(root: Path) -> None:
    (root / ".timemachine/repair/boot").write_text("an earlier one")


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_where_nothing_is_wrong_nothing_is_said_or_changed(root: Path) -> None:
    overwrite(root / LOCK, b'{"write": {}}')  # as DVC leaves it
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    del before[root / ".dvc/tmp/lock"]
    assert mended(root) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before
    repair.repair(root, pytest.fail, everything=True)
    assert "up to date" in dvc(root, "status")


@pytest.mark.parametrize("content", ["", '{"read": {"da', '{"write": 3}', "[]"])
def test_a_damaged_list_of_used_paths_is_removed(root: Path, content: str) -> None:
    (root / LOCK).write_text(content)
    if not content:
        assert "RWLock-file" in try_dvc(root, "repro").stderr
    assert goes_on(root) == [".dvc/tmp/rwlock was damaged; removed it"]


def test_paths_used_by_a_process_that_is_gone_or_no_dvc_are_free_again(root: Path) -> None:
    owner = {"pid": os.getpid(), "cmd": "dvc repro"}  # a number that another process has now
    (root / LOCK).write_text(json.dumps({"write": {str(root / "report"): owner}}))
    (root / "report").unlink()
    assert "is busy" in try_dvc(root, "repro").stderr
    assert goes_on(root) == [".dvc/tmp/rwlock named processes that are gone; removed it"]


@pytest.mark.parametrize(
    ("length", "kept"), [(0, "a copy"), (200, "a copy"), (25, "a commit"), (0, "nothing"), (-1, "nothing")]
)
def test_a_lock_that_was_cut_off_comes_back(root: Path, length: int, kept: str) -> None:
    whole = (root / "dvc.lock").read_bytes()
    if kept == "a commit":
        git(root, "add", ".")
        git(root, "commit", "--quiet", "--message", "lock")
    if kept != "a copy":
        shutil.rmtree(root / ".timemachine")
    (root / "dvc.lock").write_bytes(whole[:length])
    if length != -1:
        assert try_dvc(root, "repro").returncode != 0
    (said,) = goes_on(root)
    assert said.startswith("dvc.lock was cut off; ")
    assert ("removed it" in said) == (kept == "nothing")
    assert (root / "dvc.lock").read_bytes() == whole


def test_a_cut_lock_that_is_valid_yaml_is_known_by_the_copy_at_any_line(root: Path) -> None:
    path = root / "dvc.lock"
    whole = path.read_bytes()
    for line_end in re.finditer(b"\n", whole[:-1]):
        path.write_bytes(whole[: line_end.end()])
        assert len(mended(root)) == 1, path.read_text()
        assert path.read_bytes() == whole


def test_a_lock_that_lost_stages_on_purpose_stays(root: Path) -> None:
    path = root / "dvc.lock"
    both = path.read_bytes()
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "both")
    dvc(root, "remove", "report")
    one = path.read_bytes()
    assert len(mended(root)) == 1  # as if it were cut off: the stage that is left over harms nothing
    assert path.read_bytes() == both
    path.write_bytes(one)
    assert mended(root) == []
    git(root, "commit", "--quiet", "--all", "--message", "one")
    git(root, "checkout", "--quiet", "HEAD~1")
    assert mended(root) == []
    git(root, "checkout", "--quiet", "-")
    assert mended(root) == []
    assert path.read_bytes() == one
    path.unlink()
    assert mended(root) == []
    assert not path.exists()


@pytest.mark.parametrize("left", ["nothing", "temporary", "cut", "noise"])
def test_a_run_that_was_not_noted_whole_runs_again(root: Path, left: str) -> None:
    entry = max(root.glob(".dvc/cache/runs/*/*/*"), key=lambda path: path.stat().st_size)
    content = entry.read_bytes()
    without_an_output = content[: content.index(b"- path: report")]
    entry.unlink()
    damages = {"cut": without_an_output, "noise": b"\xff\xfe\xfd"}
    if left in damages:
        entry.write_bytes(damages[left])
        after_a_new_boot(root)
    elif left == "temporary":
        entry.with_name(".x.tmp").write_bytes(without_an_output)
    for name in ("dvc.lock", "report", "copy"):
        (root / name).unlink()
    assert try_dvc(root, "repro").returncode != 0
    (root / "dvc.lock").unlink(missing_ok=True)
    said = goes_on(root)
    assert said
    assert all(line.startswith("run cache: removed ") for line in said)
    assert len(list(root.glob(".dvc/cache/runs/*/*/*"))) == 2


@pytest.mark.parametrize("workspace", ["whole", "damaged", "gone"])
def test_a_power_cut_that_emptied_the_cache_does_not_empty_results(root: Path, workspace: str) -> None:
    cached = list(root.glob(".dvc/cache/files/md5/*/*"))
    assert len(cached) == 3
    for path in cached:
        assert path.stat().st_mode & 0o777 == 0o444
        overwrite(path, b"")
    if workspace != "whole":
        shutil.rmtree(root / "words")
        (root / "copy").unlink()
        if workspace == "damaged":
            (root / "copy").touch()
        wrong = Path(shutil.copytree(root, root.parent / "wrong"))
        try_dvc(wrong, "repro")
        assert not (wrong / "copy").exists() or (wrong / "copy").read_text() != 2 * TEXT
    after_a_new_boot(root)
    said = mended(root)
    assert len(said) == 3
    assert all(line.startswith("cache: re") for line in said)
    ran = "Running stage" in dvc(root, "repro")
    assert ran == (workspace != "whole")
    assert goes_on(root) == []
    shutil.rmtree(root / "words")
    dvc(root, "checkout")
    assert (root / "words/a").read_text() == TEXT


SLEEPS = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)"


@pytest.fixture
def sleeping(root: Path) -> Path:
    """A repository whose last stage never ends."""
    (root / "sleeps.py").write_text(SLEEPS)
    (root / "dvc.yaml").write_text(GRAPH + "  slow: {cmd: python sleeps.py, deps: [text], outs: [slow]}\n")
    return root


def start(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dvc", "repro", "slow"]
    process = subprocess.Popen(
        command,
        cwd=root,
        env=dvc_command.child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (root / "begun").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


def stages_of(root: Path) -> list[psutil.Process]:
    running = psutil.process_iter(["cwd", "cmdline", "status"])
    return [p for p in running if p.info["cwd"] == str(root) and "sleeps.py" in (p.info["cmdline"] or [""])[-1]]


def test_machine_code_that_a_power_cut_emptied_is_removed_and_other_stays(root: Path) -> None:
    folder = root / "src/package/__pycache__"
    folder.mkdir(parents=True)
    (folder / "module.f-1.py311.nbi").touch()
    (folder / "module.f-1.py311.1.nbc").write_bytes(b"whole")
    assert mended(root) == []
    after_a_new_boot(root)
    assert mended(root) == ["machine code: removed the empty module.f-1.py311.nbi"]
    assert [path.name for path in folder.iterdir()] == ["module.f-1.py311.1.nbc"]


def test_nothing_is_changed_while_a_dvc_runs_and_its_stage_ends_once_it_is_gone(sleeping: Path) -> None:
    running = start(sleeping)
    (sleeping / "dvc.lock").write_bytes(b"")
    (sleeping / ".dvc/cache/runs/aa/bb").mkdir(parents=True)
    before = snapshot(sleeping)
    (said,) = mended(sleeping)
    assert said == f"DVC is running in this repository (PID {running.pid}); nothing was repaired"
    (sleeping / ".dvc/tmp/lock").write_bytes(before[str(sleeping / ".dvc/tmp/lock")])
    assert snapshot(sleeping) == before
    assert (sleeping / ".dvc/cache/runs/aa/bb").exists()
    running.kill()
    running.wait()
    assert stages_of(sleeping)
    said = " ".join(mended(sleeping))
    assert re.search(r"ended stages .*rwlock named processes .*dvc.lock was cut off; .*run cache: removed", said)
    assert stages_of(sleeping) == []
    (sleeping / "dvc.yaml").write_text(GRAPH)
    goes_on(sleeping)


def test_a_lock_held_by_another_process_is_respected(root: Path) -> None:
    code = "import zc.lockfile; lock = zc.lockfile.LockFile('.dvc/tmp/lock'); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=pipe, stdout=pipe) as other:
        assert other.stdout
        other.stdout.readline()
        (root / "dvc.lock").write_bytes(b"")
        assert mended(root) == ["DVC is running in this repository; nothing was repaired"]
        other.kill()
    assert len(mended(root)) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dvc repro", True),
        ("python3 /venv/bin/dvc queue start", True),
        ("python3 /venv/bin/dvc exp queue-worker dvc-exp-2a682d-1@localhost --clean", True),
        ("/venv/bin/python -X dev -m dvc repro", True),
        ("python /venv/lib/dvc/__main__.py exp exec-run", True),
        ("python /venv/lib/dvc/__main__.py daemon -q updater", False),
        ("python stages/train_rnn.py", False),
        ("vim /home/me/dvc", False),
        ("", False),
    ],
)
def test_a_dvc_is_known_by_its_command(words: str, expected: bool) -> None:
    class Process:
        def cmdline(self) -> list[str]:
            return words.split()

        def status(self) -> str:
            return psutil.STATUS_RUNNING

    assert is_dvc(Process()) == expected  # type: ignore[arg-type]


def finish_state(root: Path, stage: str) -> Path:
    folder = root / repair.STATES / "0123"
    folder.mkdir(parents=True)
    (folder / "epoch-000000001").touch()
    (folder / repair.FINISHED).write_text(stage)
    return folder


@pytest.mark.parametrize("changed", ["nothing", "text", "copy", "params.yaml", "dvc.lock"])
def test_states_of_a_training_go_only_when_its_results_are_in_the_lock(root: Path, changed: str) -> None:
    (root / "params.yaml").write_text("seed: 1\n")
    (root / "dvc.yaml").write_text(
        "stages: {train@lstm: {cmd: cp text copy, deps: [text], params: [seed], outs: [copy]}}".replace(
            "@lstm", ""
        )
    )
    dvc(root, "repro")
    states = finish_state(root, "train")
    if changed == "dvc.lock":
        (root / "dvc.lock").unlink()
    elif changed != "nothing":
        (root / changed).write_text("seed: 2\n")
    said = mended(root)
    assert said == (["removed the states of train, which is finished"] if changed == "nothing" else [])
    assert states.exists() == (changed != "nothing")


def test_a_copy_that_dvc_left_beside_an_output_is_removed(root: Path) -> None:
    left, other = root / ".H4fZNOVrONnzHlRShDfL4g.tmp", root / ".report.12.abc.tmp"
    left.touch()
    other.touch()
    assert mended(root) == [f"removed the unfinished {left.name}"]
    assert other.exists()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no DVC": (lambda root: shutil.rmtree(root / ".dvc"), "no DVC repository"),
    "no git": (lambda root: shutil.rmtree(root / ".git"), "no git repository"),
    "merge marks": (
        lambda root: (root / "dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n"),
        "holds merge marks",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_folder_that_cannot_be_repaired_is_refused_in_one_line(root: Path, what: str) -> None:
    change, expected = REFUSED[what]
    (root / LOCK).write_text("")
    change(root)
    before = snapshot(root)
    with pytest.raises(UserError, match=expected) as refused:
        mended(root)
    assert "\n" not in str(refused.value)
    assert snapshot(root) == before


def no_rights_of_root() -> None:
    """Let permissions count for root too: drop what overrides them from what a program can get."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_repository_that_is_read_only_is_refused(root: Path) -> None:
    (root / LOCK).write_text("")
    (root / ".dvc/tmp").chmod(0o555)
    code = "from pathlib import Path; from timemachine.pipeline.repair import repair; repair(Path(), print)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_rights_of_root,
    )
    (root / ".dvc/tmp").chmod(0o755)
    assert "UserError: .dvc/tmp: read-only; repair needs to write there" in done.stderr


@pytest.mark.parametrize("out", ["linked/a", "linked/deeper/a", "linked/${item}/a", "${item}/a"])
def test_an_output_that_leads_out_of_the_repository_is_refused(root: Path, out: str) -> None:
    outside = root.parent / "outside"
    (outside / "x").mkdir(parents=True)
    (root / "linked").symlink_to(outside)
    stage = {"foreach": ["x", "linked"], "do": {"cmd": "true", "outs": [{out: {"cache": False}}]}}
    (root / "dvc.yaml").write_text(json.dumps({"stages": {"all": stage}}))
    with pytest.raises(UserError, match="leads out of the repository"):
        mended(root)
    # An output that is a link itself is removed as such.
    (root / "dvc.yaml").write_text(GRAPH.replace("[copy]", "[linked]"))
    assert mended(root) == []


def test_a_cache_that_lies_elsewhere_is_mended_there(root: Path) -> None:
    dvc(root, "config", "cache.dir", "../cache")
    shutil.move(root / ".dvc/cache", root.parent / "cache")
    (root.parent / "cache/runs/aa/bb").mkdir(parents=True)
    assert mended(root) == ["run cache: removed bb, which has no whole entry"]


def test_repro_stops_before_dvc_for_bad_params_and_a_full_disk(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    aliases = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9))
    (root / "params.yaml").write_text(f"a0: &a0 [x]\n{aliases}")  # DVC would not end on it
    with pytest.raises(ValueError, match=r"^params.yaml: compute: missing"):
        dvc_command.repro(root, [], print)
    monkeypatch.setattr(dvc_command, "_MIN_FREE_BYTES", 10**18)
    with pytest.raises(UserError, match=r"MB free on this disk; a run needs"):
        dvc_command.repro(root, [], print)


def test_repro_repairs_and_becomes_stock_dvc(root: Path) -> None:
    write_params(root, tiny_params())
    (root / "report").unlink()
    (root / "dvc.lock").write_text("")
    code = (
        "from pathlib import Path; from timemachine.pipeline.dvc import repro; "
        "repro(Path(), ['report'], lambda line: print(line, flush=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dvc.lock was cut off; put back the copy kept aside\n")
    assert (root / "report").read_text() == 2 * TEXT


def test_stock_dvc_broken_off_before_a_file_operation_goes_on_after_a_repair(tmp_path: Path) -> None:
    whole = make_small_pipeline(tmp_path / "whole")
    num_operations = int(
        repro_broken_off(shutil.copytree(whole, tmp_path / "all"), sys.maxsize, "kill").stdout.splitlines()[-1]
    )
    drawn = random.Random(0)
    for way in ("kill", "fill"):
        folder = Path(shutil.copytree(whole, tmp_path / way))
        broken = repro_broken_off(folder, drawn.randint(1, num_operations), way)
        assert broken.returncode == -signal.SIGKILL or way == "fill"
        goes_on(folder)
