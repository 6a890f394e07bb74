"""A repository with a pipeline of two stages that DVC has run."""

import shutil
from pathlib import Path

import pytest
import yaml
from tiny import git, make_project
from two_stages import GRAPH, SCRIPT, commit

from timemachine.pipeline import dvc


@pytest.fixture(scope="session")
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
        dvc.run(root, command, "--quiet").check_returncode()
    commit(root, "all")
    return root


@pytest.fixture
def repository(finished_repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_repository, tmp_path / "repository"))
