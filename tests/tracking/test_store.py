import subprocess
import sys
from pathlib import Path

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
        making.kill()
    assert not (tmp_path / "mlflow.db").exists()
    with open_store(tmp_path, "e") as store:
        assert store.client.search_runs([store.experiment_id]) == []
    assert list(tmp_path.glob(".mlflow.db*")) == []
