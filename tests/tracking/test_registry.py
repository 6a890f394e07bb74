"""Against real MLflow stores: in SQLite, and a server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registered import moves, registered
from server import Server

from timemachine.tracking import registry
from timemachine.tracking.store import Store, open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def checkpoint(root: Path) -> Path:
    return root / "data/models/rnn/gated"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    with open_store(root, "timemachine") as store:
        yield store


def test_a_package_holds_the_checkpoint_and_the_code_and_no_pickle(
    checkpoint: Path, tmp_path: Path, capfd
) -> None:
    registry.package(checkpoint, tmp_path / "out")
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for name in ("config.json", "model.safetensors", "vocabulary.json", "history.csv"):
        assert (tmp_path / "out/data/checkpoint" / name).read_bytes() == (checkpoint / name).read_bytes()
    assert {"MLmodel", "requirements.txt", "code/timemachine/tracking/serving.py"} <= files
    suffixes = {Path(file).suffix for file in files}
    page = {".html", ".css", ".js", ".svg"}
    assert suffixes == {"", ".txt", ".yaml", ".json", ".csv", ".safetensors", ".py", *page}
    assert "pickle" not in (tmp_path / "out/MLmodel").read_text()
    assert capfd.readouterr() == ("", "")


def test_a_run_has_one_version_however_often_it_is_asked_for(store: Store, checkpoint: Path, root: Path) -> None:
    first, second = registered(store, checkpoint, root), registered(store, checkpoint, root)
    assert (first.number, second.number, first.name) == ("1", "2", "gated")
    assert registry.ensure_version(store, first.run_id, "gated") == first
    assert len(store.client.search_model_versions(f"name = '{registry.MODEL_NAME}'")) == 2


def test_two_that_make_a_version_of_a_run_at_the_same_time_keep_one(
    store: Store, checkpoint: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered(store, checkpoint, root)
    looked = iter([None])
    really = registry._of_run
    monkeypatch.setattr(registry, "_of_run", lambda *arguments: next(looked, really(*arguments)))
    assert registry.ensure_version(store, first.run_id, "gated") == first
    assert len(store.client.search_model_versions(f"name = '{registry.MODEL_NAME}'")) == 1


def test_without_a_registered_model_there_is_no_alias(store: Store) -> None:
    assert registry.aliased(store, "champion") is None
    registry.move_alias(store, "champion", None, reason="nothing there")


def test_moves_of_an_alias_are_recorded_on_the_version_moved_onto(
    store: Store, checkpoint: Path, root: Path
) -> None:
    first, second = registered(store, checkpoint, root), registered(store, checkpoint, root)
    scores = {"champion": None, "challenger": 1.9, "spoilt": float("nan")}
    registry.move_alias(store, "champion", first, reason="the first", scores=scores)
    registry.move_alias(store, "champion", second, reason="better")
    registry.move_alias(store, "champion", second, reason="there already")
    registry.move_alias(store, "champion", first, reason="rolled back")
    registry.move_alias(store, "champion", None, reason="given up")
    assert registry.aliased(store, "champion") is None
    begun, back, gone = moves(store, first)
    assert (begun["alias"], begun["from"], begun["to"], begun["reason"]) == ("champion", None, "1", "the first")
    assert begun["scores"] == {"champion": None, "challenger": 1.9, "spoilt": None}
    assert begun["when"] <= back["when"] <= gone["when"]
    assert begun["who"]
    assert [(m["from"], m["to"]) for m in (back, gone)] == [("2", "1"), ("1", None)]
    assert [m["reason"] for m in moves(store, second)] == ["better"]


def test_a_checkpoint_comes_back_as_it_was(store: Store, checkpoint: Path, root: Path, tmp_path: Path) -> None:
    version = registered(store, checkpoint, root)
    fetched = registry.fetch_checkpoint(store, version, tmp_path / "fetched")
    for path in checkpoint.iterdir():
        assert (fetched / path.name).read_bytes() == path.read_bytes()


def test_over_http_it_is_the_same(
    root: Path, checkpoint: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    with Server(tmp_path / "server", empty_store) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with open_store(root, "timemachine") as store:
            assert registry.aliased(store, "champion") is None
            version = registered(store, checkpoint, root)
            registry.move_alias(store, "champion", version, reason="the first", scores={"new": 1.9})
            assert registry.aliased(store, "champion") == version
            assert [move["to"] for move in moves(store, version)] == [version.number]
            fetched = registry.fetch_checkpoint(store, version, tmp_path / "fetched")
    assert (fetched / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
