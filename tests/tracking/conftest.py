import shutil
from pathlib import Path

import pytest


@pytest.fixture
def root(project: Path, empty_store: Path) -> Path:
    """A finished project with an empty store in it."""
    shutil.copy(empty_store, project / "mlflow.db")
    return project
