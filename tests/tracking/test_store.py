import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from timemachine.base.errors import UserError
from timemachine.tracking.store import open_store

OPEN = """if True:
    from pathlib import Path
    from timemachine.tracking.store import open_store
    with open_store(Path.cwd(), "e"):
        pass
"""


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OPEN], cwd=tmp_path) as making:
        # Some of its tables, and not all.
        while sum(path.stat().st_size for path in tmp_path.glob(".mlflow.db.*.tmp.db")) < 100_000:
            assert making.poll() is None
            time.sleep(0.01)
        making.kill()
    assert not (tmp_path / "mlflow.db").exists()
    with open_store(tmp_path, "e") as store:
        assert store.client.search_runs([store.experiment_id]) == []
    assert list(tmp_path.glob(".mlflow.db*")) == []


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:100_000], lambda content: b"text" * 1000],
    ids=["cut", "another kind"],
)
def test_a_damaged_store_is_named_with_what_to_do(
    damage: Callable[[bytes], bytes], tmp_path: Path, empty_store: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(damage(empty_store.read_bytes()))
    said = r"mlflow\.db: [^\n]*damaged or incomplete: move it away [^\n]*$"
    with pytest.raises(ValueError, match=said), open_store(tmp_path, "e"):
        pass


def test_a_missing_driver_is_named_and_a_missing_module_of_ours_is_a_bug(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with pytest.raises(ModuleNotFoundError), open_store(tmp_path, "e"):
        import no_such_module  # noqa: F401
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+pymysql://ann:secret@127.0.0.1/x")
    with (
        pytest.raises(UserError, match=r"^MLflow at mysql.*://127\.0\.0\.1/x: No "),
        open_store(tmp_path, "e"),
    ):
        pass
