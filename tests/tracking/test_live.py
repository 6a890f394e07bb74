"""A training seen in MLflow while it goes on, whatever happens to the training or to the store."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from server import Server

from timemachine.tracking import live
from timemachine.tracking.address import tracking_uri
from timemachine.tracking.live import SPOOLS, Live
from timemachine.tracking.sender import send_waiting
from timemachine.tracking.store import open_store

pytestmark = pytest.mark.slow

CONFIG = {"family": "rnn", "name": "mine", "corpus": "whole", "data_sha256": "5" * 64, "num_epochs": 4, "lr": 0.1}
CPU = torch.device("cpu")


PATIENCE_S = live._PATIENCE_S


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send from the first moment on, and wait as long as a busy machine needs."""
    monkeypatch.setattr(live, "_DELAY_S", 0.0)
    monkeypatch.setattr(live, "_PATIENCE_S", 120.0)


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def only_run(root: Path) -> Run | None:
    client = MlflowClient(tracking_uri(root))
    experiment = client.get_experiment_by_name("e")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    assert len(runs) < 2
    return runs[0] if runs else None


def curve(root: Path, key: str = "training/nats") -> list[tuple[int, float]]:
    run = only_run(root)
    if run is None:
        return []
    history = MlflowClient(tracking_uri(root)).get_metric_history(run.info.run_id, key)
    return [(point.step, point.value) for point in history]


def wait_until(condition: Callable[[], Any], patience_s: float = 120) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_the_run_is_visible_and_its_curves_grow_while_the_model_trains(root: Path) -> None:
    with Live(root, "e", CONFIG, CPU) as told:
        told.update({"epoch": 1, "nats": 2.5})
        wait_until(lambda: curve(root) == [(1, 2.5)])
        told.update({"epoch": 2, "nats": 2.25})
        wait_until(lambda: curve(root) == [(1, 2.5), (2, 2.25)])
        assert only_run(root).info.status == "RUNNING"  # type: ignore[union-attr]
        told.update({"epoch": 3, "nats": 2.0})
    run = only_run(root)
    assert run is not None
    assert run.info.status == "FINISHED"
    assert [step for step, _ in curve(root)] == [1, 2, 3]
    assert curve(root, "system/cpu_utilization_percentage")
    assert run.data.params == {key: str(value) for key, value in CONFIG.items()}
    assert run.data.tags["timemachine.torch"] == torch.__version__
    assert run.data.tags["timemachine.device"].startswith("cpu")
    assert run.data.tags["DVC_STAGE"] == "train_rnn@mine"
    assert run.inputs.dataset_inputs[0].dataset.digest == "5" * 32
    assert not list((root / SPOOLS).glob("*.jsonl"))


def test_a_store_that_refuses_costs_one_line_and_few_seconds_and_gets_all_later(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "_PATIENCE_S", PATIENCE_S)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    begin = time.monotonic()
    with Live(root, "e", CONFIG, CPU) as told:
        for epoch in (1, 2, 3, 4):
            told.update({"epoch": epoch, "nats": 1 / epoch})
    assert time.monotonic() - begin < 10
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mine: warning: ")
    assert "timemachine publish" in line
    assert "secret" not in line
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for _ in range(2):
        with open_store(root, "e") as store:
            send_waiting(store, root, "e")
    assert curve(root) == [(epoch, 1 / epoch) for epoch in (1, 2, 3, 4)]
    assert only_run(root).info.status == "FINISHED"  # type: ignore[union-attr]
    assert not list((root / SPOOLS).glob("*.jsonl"))


def test_a_server_killed_in_the_middle_gets_the_rest_when_it_is_back(
    root: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(tmp_path_factory.mktemp("server"), empty_store) as server:
        monkeypatch.setattr(live, "_PATIENCE_S", PATIENCE_S)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        with Live(root, "e", CONFIG, CPU) as told:
            told.update({"epoch": 1, "nats": 1.0})
            wait_until(lambda: curve(root) == [(1, 1.0)])
            server.kill()
            for epoch in (2, 3, 4):
                told.update({"epoch": epoch, "nats": 1 / epoch})
            begin = time.monotonic()
        assert time.monotonic() - begin < 10
        server.start()
        assert curve(root) == [(1, 1.0)]
        with open_store(root, "e") as store:
            send_waiting(store, root, "e")
        assert curve(root) == [(epoch, 1 / epoch) for epoch in (1, 2, 3, 4)]
        assert only_run(root).info.status == "FINISHED"  # type: ignore[union-attr]


KILLED_TRAINING = f"""
import sys, time, torch
from pathlib import Path
from timemachine.tracking import live
live._DELAY_S = 0.0
with live.Live(Path(sys.argv[1]), "e", {CONFIG!r}, torch.device("cpu")) as told:
    told.update({{"epoch": 1, "nats": 2.5}})
    told.update({{"epoch": 2, "nats": 2.25}})
    time.sleep(60)
"""


def test_a_training_that_is_killed_says_so_and_goes_on_in_the_same_run(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED_TRAINING, str(root)]) as training:
        wait_until(lambda: len(curve(root)) == 2)
        os.kill(training.pid, signal.SIGKILL)
    wait_until(lambda: only_run(root).info.status == "KILLED")  # type: ignore[union-attr]
    with Live(root, "e", CONFIG, CPU) as told:
        for epoch, nats in ((1, 2.5), (2, 2.25), (3, 2.0)):
            told.update({"epoch": epoch, "nats": nats})
    assert curve(root) == [(1, 2.5), (2, 2.25), (3, 2.0)]
    assert only_run(root).info.status == "FINISHED"  # type: ignore[union-attr]


def test_a_training_that_fails_says_why(root: Path) -> None:
    with pytest.raises(ValueError, match="diverged"), Live(root, "e", CONFIG, CPU):
        raise ValueError("the training diverged")
    run = only_run(root)
    assert run is not None
    assert (run.info.status, run.data.tags["timemachine.reason"]) == ("FAILED", "the training diverged")


def test_the_same_training_twice_at_once_is_told_of_once(root: Path) -> None:
    with Live(root, "e", CONFIG, CPU) as first:
        first.update({"epoch": 1, "nats": 2.5})
        with Live(root, "e", CONFIG, CPU) as second:
            second.update({"epoch": 1, "nats": 2.5})
        first.update({"epoch": 2, "nats": 2.25})
    assert curve(root) == [(1, 2.5), (2, 2.25)]


def test_a_spool_that_cannot_be_written_is_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".timemachine").write_text("in the way")
    with Live(root, "e", CONFIG, CPU) as told:
        told.update({"epoch": 1, "nats": 2.5})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mine: warning: live logging to MLflow is disabled: ")


def test_a_short_training_leaves_its_spool_to_publish(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_DELAY_S", 60.0)
    with Live(root, "e", CONFIG, CPU) as told:
        told.update({"epoch": 1, "nats": 2.5})
    (spool,) = (root / SPOOLS).glob("*.jsonl")
    lines = [json.loads(line) for line in spool.read_text().splitlines()]
    assert [set(line) - {"ms"} for line in lines] == [
        {"experiment", "config", "tags"},
        {"step", "metrics"},
        {"end", "reason"},
    ]
    assert only_run(root) is None
