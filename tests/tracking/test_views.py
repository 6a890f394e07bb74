"""The saved views, opened in a real MLflow server by a real browser, and the command that starts MLflow's page."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from mlflow import MlflowClient
from server import Server

from timemachine.pipeline import params
from timemachine.tracking.publish import publish_state
from timemachine.tracking.views import VIEWS, view_address

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


@pytest.fixture
def published(root: Path) -> Path:
    """A published project with one verdict of a retraining."""
    publish_state(params.load(root / "params.yaml"), root, root / "data")
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("timemachine-retraining")
    tags = {"timemachine.kind": "verdict", "timemachine.verdict": "promoted"}
    run_id = client.create_run(experiment.experiment_id, run_name="a verdict", tags=tags).info.run_id
    client.log_metric(run_id, "challenger_val_bits_per_character", 1.625)
    client.set_terminated(run_id)
    return root


@pytest.fixture
def server(published: Path, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    with Server(tmp_path / "server", published / "mlflow.db") as server:
        yield server


def test_each_view_shows_names_and_numbers_without_a_click(server: Server, chromium: "Browser") -> None:
    client = MlflowClient(server.url)
    expected = {}
    for key, view in VIEWS.items():
        experiment = client.get_experiment_by_name("timemachine" + "-retraining" * view.retraining)
        order = [f"{view.order} {'ASC' if view.ascending else 'DESC'}"]
        runs = client.search_runs([experiment.experiment_id], view.filter, order_by=order)
        metric = re.sub(r"metrics\.|`", "", view.columns[0])
        values = [f"{run.data.metrics[metric]:.15g}" for run in runs if metric in run.data.metrics]
        expected[key] = (experiment.experiment_id, [run.info.run_name for run in runs], values)
    assert set(expected["language-models"][1]) == {
        "carried",
        "windowed",
        "gated",
        "context_mixing",
        "context_mixing_gated",
    }
    assert set(expected["forecasts"][1]) == {"linear", "mlp"}
    assert expected["retraining"][1:] == (["a verdict"], ["1.625"])
    for key, (experiment_id, names, values) in expected.items():
        # MLflow's own page logs errors, so not the fixture `page`. Wide: columns out of sight are not in the page.
        page = chromium.new_page(viewport={"width": 2000, "height": 1000})
        page.goto(view_address(server.url, experiment_id, key))
        cells = page.locator(f".ag-row [col-id='{VIEWS[key].columns[0]}']")
        cells.first.wait_for(timeout=60_000)
        page.wait_for_function("text => document.body.innerText.includes(text)", arg=names[-1], timeout=60_000)
        shown = [cell.inner_text().strip() for cell in cells.all()]
        assert [text[:6] for text in shown] == [value[:6] for value in values]
        text = page.inner_text("body")
        assert all(name in text for name in names)
        assert VIEWS[key].name in text  # in the menu of the views
        page.close()


def test_the_models_tab_lists_the_models_with_their_scores(server: Server, chromium: "Browser") -> None:
    client = MlflowClient(server.url)
    experiment_id = client.get_experiment_by_name("timemachine").experiment_id
    (run,) = client.search_runs([experiment_id], "attributes.run_name = 'gated'")
    page = chromium.new_page(viewport={"width": 3000, "height": 1000})  # columns out of sight are not in the page
    page.goto(f"{server.url}/#/experiments/{experiment_id}/models?workflowType=machine_learning")
    for text in ("gated", *(str(run.data.metrics[f"{part}_bits_per_character"])[:6] for part in ("val", "test"))):
        page.wait_for_function("text => document.body.innerText.includes(text)", arg=text, timeout=60_000)
    page.close()


def test_the_page_takes_two_processes_and_prints_the_addresses_of_the_views(published: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "timemachine.cli", "ui", "--port", str(port)]
    started = subprocess.Popen(
        command,
        cwd=published,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert started.stdout
        lines = [started.stdout.readline() for _ in VIEWS]
        for line, (key, view) in zip(lines, VIEWS.items(), strict=True):
            assert line.startswith(f"{view.name}: http://127.0.0.1:{port}/#/experiments/")
            assert line.endswith(f"viewStateShareKey={key}\n")
        deadline = time.monotonic() + 120
        while True:
            try:
                assert requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
                break
            except requests.RequestException:
                assert started.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert len(psutil.Process(started.pid).children(recursive=True)) == 1
        taken = subprocess.run(command, cwd=published, capture_output=True, text=True, check=False)
        assert taken.returncode == 1
        assert taken.stderr.startswith(f"timemachine: error: port {port} of 127.0.0.1: Address already in use;")
        assert taken.stderr.count("\n") == 1
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
