import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tiny import git
from two_stages import commit

from timemachine.base.compute import differs_from_here, environment
from timemachine.pipeline import dvc
from timemachine.provenance.trace import trace_output

pytestmark = pytest.mark.slow


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
    assert trace["output"].endswith("present and unchanged")
    assert trace["stage"] == "work, after check"
    assert trace["params"] == "series.seed: 0"
    assert trace["commit"].endswith(" all")
    assert trace["reproduce"] == "yes: code, params and data are those of dvc.lock: `dvc repro --force work`"
    assert told(repository, "results")["output"].startswith("data/results/a.json, MD5")


def test_a_trace_says_what_has_changed_since(repository: Path) -> None:
    content = yaml.safe_load((repository / "params.yaml").read_text())
    content["series"]["seed"] = 5
    (repository / "params.yaml").write_text(yaml.safe_dump(content))
    (repository / "work.py").write_text("# other\n")
    (repository / "data/folder/b.json").write_text("broken")
    trace = told(repository, "data/folder")
    assert "CHANGED since the stage wrote it; DVC's cache has the original" in trace["output"]
    assert (
        trace["reproduce"] == "not from this working tree: work.py, series.seed in params.yaml changed since then"
    )
    assert git(repository, "rev-parse", "HEAD")[:12] in trace[""]


def test_a_commit_that_does_not_have_all_of_it_either_is_not_said_to(repository: Path) -> None:
    text = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(text.replace("seed: 0", "seed: 1"))
    assert dvc.run(repository, "repro", "--quiet").returncode == 0
    (repository / "params.yaml").write_text(text.replace("seed: 0", "seed: 2"))
    commit(repository, "a lock of other params")
    head = git(repository, "rev-parse", "HEAD")[:12]
    trace = told(repository, "data/folder")
    assert trace["reproduce"] == "not from this working tree: series.seed in params.yaml changed since then"
    assert trace[""] == f"commit {head} differs too: series.seed in params.yaml"


def test_a_damaged_cache_is_not_said_to_have_it(repository: Path) -> None:
    for kept in (repository / ".dvc/cache/files/md5").glob("*/*"):
        kept.chmod(0o644)
        kept.write_text("")
    for name in ("data/results/a.json", "data/folder/b.json"):
        (repository / name).write_text("{}")
        assert told(repository, name)["output"].endswith("CHANGED since the stage wrote it")


def test_a_cache_elsewhere_and_links_into_it_are_followed(repository: Path, tmp_path: Path) -> None:
    shutil.move(repository / ".dvc/cache", tmp_path / "far away")
    config = f'[core]\n    no_scm = false\n[cache]\n    type = symlink\n    dir = "{tmp_path}/far away"\n'
    (repository / ".dvc/config.local").write_text(config)
    (repository / "data/folder/b.json").unlink()
    assert told(repository, "data/folder")["output"].endswith(
        "; DVC's cache has the original, `dvc checkout` restores it"
    )
    dvc.run(repository, "checkout", "--quiet").check_returncode()
    assert (repository / "data/folder/b.json").is_symlink()
    assert told(repository, "data/folder/b.json")["output"].endswith("present and unchanged")


def test_a_repository_below_that_of_git_finds_its_commit(repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository / ".git")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "above")
    assert told(repository, "data/folder")["commit"].endswith(" above")


def test_without_git_there_is_no_commit(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    assert told(repository, "data/folder")["commit"] == "none: dvc.lock is not in git"


def test_data_may_lie_on_another_disk(repository: Path, tmp_path: Path) -> None:
    shutil.move(repository / "data", tmp_path / "disk")
    (repository / "data").symlink_to(tmp_path / "disk")
    assert told(repository, "data/folder")["output"].endswith("present and unchanged")


@pytest.mark.parametrize("path", [".", "data"])
def test_what_several_stages_wrote_is_to_be_named_closer(path: str, repository: Path) -> None:
    with pytest.raises(ValueError, match=r"several stages; choose one of data/checked\.txt, data/folder"):
        list(trace_output(repository, path))


@pytest.mark.parametrize("graph", ["stages: [1, 2]", "stages:", "[]", "stages: {work: {do: 3}}"])
def test_a_graph_that_is_none_has_changed(graph: str, repository: Path) -> None:
    (repository / "dvc.yaml").write_text(graph)
    assert "the command of check in dvc.yaml" in told(repository, "data/folder")["reproduce"]


@pytest.mark.parametrize(
    "path", ["work.py", "data/none", "data/folder/none.json", "../elsewhere", "/etc/passwd", "loop/x"]
)
def test_what_no_stage_wrote_has_no_trace(path: str, repository: Path) -> None:
    (repository / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match=r"no output of any stage|outside the repository|not among the 1 files"):
        list(trace_output(repository, path))


def test_a_recipe_for_the_cpu_is_compared_without_looking_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = environment(torch.device("cpu"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("looked for a GPU"))
    assert differs_from_here(recorded, "cpu") == ""
    assert differs_from_here(recorded | {"torch": "1.0"}, "cpu") == f"torch {torch.__version__}"
