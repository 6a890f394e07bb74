"""What the tests share: the book's text, and a folder in which a tiny pipeline has run."""

import os

# The caller's environment must not change a result. numpy, torch and matplotlib read these variables when they are
# imported, so they go first. Tests compare this process with stages that DVC starts in another one.
_CHANGE_RESULTS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "ONEDNN_", "DNNL_", "ATEN_", "MPL")
for _name in [name for name in os.environ if name.startswith(_CHANGE_RESULTS)]:
    del os.environ[_name]

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from filelock import FileLock
from graph import ROOT
from hypothesis import settings
from threadpoolctl import threadpool_limits
from tiny import ALL_STAGES, git, make_project, run_stage
from two_stages import GRAPH, SCRIPT, commit

from timemachine.pipeline import dvc, params
from timemachine.text.preparation.fetch import fetch_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

torch.set_num_threads(1)  # tests run side by side
threadpool_limits(1)
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often `dvc repro` is killed in test_faults.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import files that are slow as a whole where no slow tests are wanted: they import MLflow."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.slow\n" in collection_path.read_text() or None


# The files that take longest, the longest first. With xdist they begin first, and both workers end together.
LONGEST = (
    "test_faults.py",
    "test_dvc.py",
    "test_round.py",
    "test_publish.py",
    "test_stages.py",
    "test_live.py",
    "test_server.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [*LONGEST, None]
    items.sort(key=lambda item: names.index(item.path.name if item.path.name in LONGEST else None))


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first of the processes that run the tests fills for all of them."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / f"shared-{name}", shared / f"shared-{name}.done"
    with FileLock(shared / f"shared-{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to a store, or a repository, that the caller's environment names."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "TIMEMACHINE_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Time Machine, from a copy at hand if there is one."""
    p, raw = params.load(ROOT / "params.yaml"), tmp_path_factory.mktemp("raw")
    entry = p.texts["timemachine"]
    sources = sorted(["data/raw/timemachine/*", *entry.sources], key=lambda source: "://" in source)
    entry = entry.model_copy(update={"sources": sources})
    (path,) = fetch_text("timemachine", entry, p.download, raw, ROOT)
    return path.read_text()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage but publish has run; to be copied, not changed."""

    def make(folder: Path) -> None:
        make_project(folder)
        for stage in ALL_STAGES:
            run_stage(folder, *stage)

    return once(tmp_path_factory, "finished", make)


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder, to be broken."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store: making one takes seconds, copying it does not."""
    from timemachine.tracking.store import open_store

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
            with open_store(folder, "other"):
                pass

    return once(tmp_path_factory, "store", make) / "mlflow.db"


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """Debian's Chromium without a window; tests that need it are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    """A page of 1280 × 800 pixels. The test fails if the page logs an error or raises an exception."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


@pytest.fixture(scope="session")
def finished_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository whose pipeline has run, and whose lock is committed; to be copied."""

    def make(root: Path) -> None:
        make_project(root)
        (root / "work.py").write_text(SCRIPT)
        (root / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
        (root / ".gitignore").write_text("/data/checked.txt\n/data/folder\n/.timemachine\n")
        git(root, "init", "--quiet")
        for command in ("init", "repro"):
            dvc.run(root, command, "--quiet").check_returncode()
        commit(root, "all")
        dvc.prepare(root, pytest.fail)

    return once(tmp_path_factory, "repository", make)


@pytest.fixture
def repository(finished_repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_repository, tmp_path / "repository"))
