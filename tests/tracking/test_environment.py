from pathlib import Path

import pytest
from tiny import git

from timemachine.tracking.environment import git_tags

pytestmark = pytest.mark.slow


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("code.py", "dvc.lock", "data/reports/text.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as committed")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    return tmp_path


def test_outputs_of_the_pipeline_in_git_are_no_changes(repository: Path) -> None:
    (repository / "dvc.lock").write_text("another run")
    (repository / "data/reports/text.json").write_text("another run")
    (repository / "data/reports/new.json").write_text("another report")
    commit = git(repository, "rev-parse", "HEAD").strip()
    assert git_tags(repository) == {"mlflow.source.git.commit": commit, "timemachine.git_dirty": "false"}


@pytest.mark.parametrize("name", ["code.py", "params.yaml", "data/accepted/new.txt"])
def test_other_changed_and_new_files_are(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text("changed")
    assert git_tags(repository)["timemachine.git_dirty"] == "true"


def test_without_a_commit_there_are_no_tags(tmp_path: Path) -> None:
    assert git_tags(tmp_path) == {}
    git(tmp_path, "init", "--quiet")
    assert git_tags(tmp_path) == {}
