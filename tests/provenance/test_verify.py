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

from timemachine import safe_dvc
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
    for command in ("init", "repro"):
        safe_dvc.run(root, command, "--quiet", check=True)
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


def test_a_number_that_is_gone_is_not_said_to_be_apart(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (repository / "work.py").write_text(SCRIPT.replace('"n": 3', '"m": 3'))
    good, said = verified(repository)
    assert not good
    assert said[0].startswith("dvc.lock is not of this working tree: work.py changed")
    assert "data/reports/a.json: n: absent in the second run" in said


def test_a_machine_that_nobody_wrote_down_is_not_said_to_be_the_same(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1e-12")
    (repository / ENVIRONMENT).unlink()
    shutil.rmtree(repository / ".dvc/cache")
    good, said = verified(repository)
    assert not good
    assert f"whether this is the kind of machine of the lock cannot be said ({ENVIRONMENT})" in said


def test_a_damaged_list_in_the_cache_is_as_good_as_none(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NOISE", "1")
    (listing,) = (repository / ".dvc/cache/files").rglob("*.dir")
    listing.chmod(0o644)
    (repository / "data/folder/b.json").unlink()
    for content in ("", '[{"md5": "x"}]'):
        listing.write_text(content)
        assert told(repository, "data/folder")["output"].endswith("CHANGED since the stage wrote it")
    assert "data/folder: other bytes; those of the lock are not at hand" in "".join(verified(repository)[1])


def test_an_interruption_ends_the_second_run_too_and_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    (repository / "work.py").write_text("import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)\n")
    command = [sys.executable, "-m", "timemachine.cli", "verify"]
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=repository, env=environment, stderr=pipe, text=True) as verifying:
        while not list(tmp_path.glob("temporary/*/copy/begun")):
            assert verifying.poll() is None
        verifying.terminate()
        said = verifying.communicate()[1]
    assert (verifying.returncode, said.splitlines()[-1]) == (130, "timemachine: interrupted")
    assert list((tmp_path / "temporary").iterdir()) == []


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


def test_a_cache_elsewhere_and_links_into_it_are_followed(repository: Path, tmp_path: Path) -> None:
    shutil.move(repository / ".dvc/cache", tmp_path / "far away")
    config = f'[core]\n    no_scm = false\n[cache]\n    type = symlink\n    dir = "{tmp_path}/far away"\n'
    (repository / ".dvc/config.local").write_text(config)
    (repository / "data/folder/b.json").unlink()
    assert told(repository, "data/folder")["output"].endswith("but DVC's cache has it: `dvc checkout`")
    safe_dvc.run(repository, "checkout", "--quiet", check=True)
    assert (repository / "data/folder/b.json").is_symlink()
    assert told(repository, "data/folder/b.json")["output"].endswith("at hand, as dvc.lock has it")


def test_a_repository_below_that_of_git_finds_its_commit(repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository / ".git")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "above")
    assert told(repository, "data/folder")["commit"].endswith(" above")


@pytest.mark.parametrize("path", [".", "data"])
def test_what_several_stages_wrote_is_to_be_named_closer(path: str, repository: Path) -> None:
    with pytest.raises(ValueError, match=r"of several stages; name one of data/checked\.txt, data/folder"):
        list(trace_output(repository, path))


@pytest.mark.parametrize("graph", ["stages: [1, 2]", "stages:", "[]", "stages: {work: {do: 3}}"])
def test_a_graph_that_is_none_has_changed(graph: str, repository: Path) -> None:
    (repository / "dvc.yaml").write_text(graph)
    assert "the command of check in dvc.yaml" in told(repository, "data/folder")["again"]


@pytest.mark.parametrize("path", ["work.py", "data/none", "../elsewhere", "/etc/passwd"])
def test_what_no_stage_wrote_has_no_trace(path: str, repository: Path) -> None:
    with pytest.raises(ValueError, match=r"no output of any stage|outside the repository"):
        list(trace_output(repository, path))
