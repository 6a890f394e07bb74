"""On a pipeline of two stages that do next to nothing, run by DVC itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import git, make_project

from timemachine.provenance.lock import md5_of, read_lock
from timemachine.provenance.trace import trace_output
from timemachine.provenance.verify import verify

ENVIRONMENT = "data/reports/environment.json"
# Whoever sets MACHINE or NOISE has another machine, or a result that is not the same twice.
SCRIPT = """
import json, os, pathlib
noise, machine = float(os.environ.get("NOISE", 0)), os.environ.get("MACHINE", "here")
for name, content in {
    "reports/a.json": {"rmse": 0.2 + noise, "n": 3},
    "reports/environment.json": {"lstm": {"processor": machine}},
    "folder/b.json": [noise],
}.items():
    path = pathlib.Path("data", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
"""
GRAPH = {
    "stages": {
        "check": {"cmd": "mkdir -p data && echo ok > data/checked.txt", "outs": ["data/checked.txt"]},
        "work": {
            "cmd": "python work.py",
            "deps": ["data/checked.txt", "work.py"],
            "params": ["series.seed"],
            "outs": ["data/folder"],
            "metrics": [{"data/reports/a.json": {"cache": False}}, {ENVIRONMENT: {"cache": False}}],
        },
    }
}


@pytest.fixture(scope="module")
def finished_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository whose pipeline has run, and whose lock is committed; to be copied."""
    root = tmp_path_factory.mktemp("finished") / "repository"
    root.mkdir()
    make_project(root)
    (root / "work.py").write_text(SCRIPT)
    (root / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    (root / ".gitignore").write_text("/data/checked.txt\n/data/folder\n")
    git(root, "init", "--quiet")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for arguments in (["init", "--quiet"], ["repro", "--quiet"]):
        command = [sys.executable, "-m", "timemachine.safe_dvc", *arguments]
        subprocess.run(command, cwd=root, env=environment, check=True)
    commit(root, "all")
    return root


@pytest.fixture
def repository(finished_repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_repository, tmp_path / "repository"))


def commit(root: Path, message: str) -> None:
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", message)


def verified(root: Path, tolerance: float = 0.01) -> tuple[bool, list[str]]:
    said: list[str] = []
    return verify(root, tolerance, said.append), said


def test_a_second_run_with_the_same_bytes_is_verified_and_leaves_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    assert verified(repository) == (True, ["4 of 4 outputs have the bytes of dvc.lock"])
    assert sorted(tmp_path.rglob("*")) == before


def test_what_differs_on_the_same_machine_is_named_and_fails(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1e-9")
    good, said = verified(repository)
    assert not good
    assert said[0] == "2 of 4 outputs have the bytes of dvc.lock"
    assert any(line.startswith("data/folder/b.json: 0 is 1e-09, not 0.0") for line in said)
    assert any(line.startswith("data/reports/a.json: rmse is 0.200000001, not 0.2") for line in said)
    assert "2 of 2 numbers in reports agree within 1 %, or 1e-09" in said
    assert json.loads((Path(said[-1].split()[-1]) / "data/folder/b.json").read_text()) == [1e-9]


@pytest.mark.parametrize(("noise", "good"), [("0.001", True), ("0.01", False)])
def test_on_another_machine_the_numbers_must_agree_within_the_tolerance(
    noise: str, good: bool, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("MACHINE", "elsewhere")
    monkeypatch.setenv("NOISE", noise)
    verdict, said = verified(repository)
    assert verdict == good
    assert f"this is another kind of machine than the lock's ({ENVIRONMENT})" in said
    assert any(line.startswith("data/reports/a.json: rmse: 4.76 % apart") for line in said) == (not good)


def test_results_that_are_not_at_hand_are_compared_by_their_hash(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1")
    for path in (repository / ".dvc/cache/files").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    (repository / "data/folder/b.json").unlink()
    assert any(
        "data/folder: other bytes; those of the lock are not at hand" in line for line in verified(repository)[1]
    )


def test_a_lock_that_is_damaged_is_an_error_of_one_line(repository: Path) -> None:
    (repository / "dvc.lock").write_bytes((repository / "dvc.lock").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"dvc\.lock: damaged") as refused:
        verified(repository)
    assert "\n" not in str(refused.value)


def test_the_hash_of_a_folder_is_that_of_dvc(repository: Path) -> None:
    locked = read_lock(repository / "dvc.lock")["work"].outs
    assert {out: md5_of(repository / out) for out in locked} == locked


def told(root: Path, path: str) -> dict[str, str]:
    return dict(reversed([(line[:13].strip(), line[13:]) for line in trace_output(root, path)]))


def test_a_trace_names_params_commit_and_how_to_make_it_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "data")
    (repository / "unrelated").write_text("later")
    commit(repository, "later")
    trace = told(repository, "folder/b.json")
    assert trace["output"].startswith("data/folder, MD5")
    assert trace["output"].endswith("at hand, as dvc.lock has it")
    assert trace["stage"] == "work, after check"
    assert trace["params"] == "series.seed: 0"
    assert trace["commit"].endswith(" all")
    assert trace["again"] == "yes: code, params and data are those of dvc.lock: `dvc repro --force work`"
    assert told(repository, "reports")["output"].startswith("data/reports/a.json, MD5")


def test_a_trace_says_what_has_changed_since(repository: Path) -> None:
    content = yaml.safe_load((repository / "params.yaml").read_text())
    content["series"]["seed"] = 5
    (repository / "params.yaml").write_text(yaml.safe_dump(content))
    (repository / "work.py").write_text("# other\n")
    (repository / "data/folder/b.json").write_text("broken")
    trace = told(repository, "data/folder")
    assert "CHANGED since the stage wrote it, but DVC's cache has it" in trace["output"]
    assert trace["again"] == "not as it stands: since then work.py, series.seed in params.yaml changed"
    assert git(repository, "rev-parse", "HEAD")[:12] in trace[""]


@pytest.mark.parametrize("path", ["work.py", "data/none", "../elsewhere", "/etc/passwd"])
def test_what_no_stage_wrote_has_no_trace(path: str, repository: Path) -> None:
    with pytest.raises(ValueError, match=r"no output of any stage|outside the repository"):
        list(trace_output(repository, path))
