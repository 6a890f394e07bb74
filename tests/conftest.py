"""What the tests share: the book's text, and a folder in which a tiny pipeline has run."""

import os

# The caller's environment must not change a result. numpy, torch and matplotlib read these variables when they are
# imported, so they go first. Tests compare this process with stages that DVC starts in another one.
_CHANGE_RESULTS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "ONEDNN_", "DNNL_", "ATEN_", "MPL")
for _name in [name for name in os.environ if name.startswith(_CHANGE_RESULTS)]:
    del os.environ[_name]

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from graph import ROOT
from hypothesis import settings
from threadpoolctl import threadpool_limits
from tiny import ALL_STAGES, git, make_project, run_stage
from two_stages import GRAPH, SCRIPT, commit

from timemachine.pipeline import dvc, params
from timemachine.text.fetch import fetch

torch.set_num_threads(1)  # tests run side by side
threadpool_limits(1)
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often `dvc repro` is killed in test_faults.py")


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to a store, or a repository, that the caller's environment names."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "TIMEMACHINE_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def book() -> str:
    """The Time Machine, from a copy at hand if there is one."""
    wanted = params.load(ROOT / "params.yaml").download
    sources = ["data/raw/timemachine.txt", *sorted(wanted.sources, key=lambda source: "://" in source)]
    options = wanted.model_dump(include={"sha256", "max_bytes", "timeout_s", "retries"})
    return fetch(sources, root=ROOT, **options).decode()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage but publish has run; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("finished")
    make_project(folder)
    for stage in ALL_STAGES:
        run_stage(folder, *stage)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder, to be broken."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store: making one takes seconds, copying it does not."""
    from timemachine.tracking.store import open_store

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        with open_store(folder, "other"):
            pass
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def finished_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository whose pipeline has run, and whose lock is committed; to be copied."""
    root = tmp_path_factory.mktemp("finished") / "repository"
    root.mkdir()
    make_project(root)
    (root / "work.py").write_text(SCRIPT)
    (root / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    (root / ".gitignore").write_text("/data/checked.txt\n/data/folder\n/.timemachine\n")
    git(root, "init", "--quiet")
    for command in ("init", "repro"):
        dvc.run(root, command, "--quiet").check_returncode()
    commit(root, "all")
    dvc.prepare(root, pytest.fail)
    return root


@pytest.fixture
def repository(finished_repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_repository, tmp_path / "repository"))
