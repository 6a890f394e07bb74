import shutil
from pathlib import Path

import pytest


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


@pytest.fixture
def root(project: Path, empty_store: Path) -> Path:
    """A finished project with an empty store in it."""
    shutil.copy(empty_store, project / "mlflow.db")
    return project
