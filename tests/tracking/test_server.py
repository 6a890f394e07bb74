"""Against a real MLflow server that asks for a password."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from server import PASSWORD, USER, Server
from tiny import run_stage
from typer.testing import CliRunner

from timemachine import cli
from timemachine.pipeline import params
from timemachine.tracking.publish import publish_state

pytestmark = pytest.mark.slow

WRONG = "wrong-horse-battery"


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), empty_store, basic_auth=True) as server:
        yield server


@pytest.fixture(autouse=True)
def _client(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def names(server: Server) -> list[str]:
    """Return the names of all runs, looked up in the server's database."""
    client = MlflowClient(f"sqlite:///{server.store}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(str(run.info.run_name).split()[0] for run in client.search_runs(ids))


@pytest.mark.parametrize("password", [WRONG, None])
def test_without_the_right_password_publishing_ends_in_one_line_and_leaves_no_receipt(
    project: Path, server: Server, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if password:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    with pytest.raises(SystemExit) as stopped:
        run_stage(project, "publish")
    message = str(stopped.value.code)
    assert message.startswith(f"publish: error: MLflow at {server.url}: ")
    assert "not authenticated" in message
    assert "\n" not in message
    assert WRONG not in message
    assert not (project / "data/published.json").exists()
    assert names(server) == []


@pytest.mark.parametrize("down", [False, True])
def test_a_password_in_the_address_is_in_no_error(
    project: Path, server: Server, down: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "127.0.0.1:9" if down else server.address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}:{WRONG}@{address}")
    with pytest.raises(SystemExit, match=rf"^publish: error: MLflow at http://{address}: ") as stopped:
        run_stage(project, "publish")
    assert WRONG not in str(stopped.value.code)


class TestWithTheRightPassword:
    """One server, filled step by step: the tests run in this order."""

    def test_a_project_is_published_with_its_artifacts(
        self, project: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        run_stage(project, "publish")
        mixtures = ["context_mixing", "context_mixing_gated"]
        assert names(server) == ["carried", *mixtures, "gated", "linear", "mlp", "pipeline", "windowed"]
        checkpoint = project / "data/models/rnn/gated/model.safetensors"
        stored = [path.read_bytes() for path in server.artifacts.rglob("checkpoint/model.safetensors")]
        assert checkpoint.read_bytes() in stored
        assert len(json.loads((project / "data/published.json").read_text())["models"]) == 7

    def test_a_password_in_the_address_works_and_is_neither_printed_nor_stored(
        self, project: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}:{PASSWORD}@{server.address}")
        text = (project / "params.yaml").read_text()
        (project / "params.yaml").write_text(text.replace("num_draws: 20", "num_draws: 21"))
        monkeypatch.chdir(project)
        done = CliRunner().invoke(cli.app, ["publish"], catch_exceptions=False)
        assert done.stdout.startswith(f"{server.url} has state ")
        assert names(server).count("pipeline") == 2
        assert PASSWORD not in done.output
        stored = [path.read_bytes() for path in server.store.parent.glob("mlflow.db*")]
        assert not any(PASSWORD.encode() in content for content in stored)

    def test_what_was_published_is_there_when_the_server_is_killed_and_started_again(
        self, project: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = names(server)
        server.kill()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{server.url}/health", timeout=5)
        server.start()
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        publish_state(params.load(project / "params.yaml"), project, project / "data")
        assert names(server) == before


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("10.0.0.7", 200), ("mlflow.example.org", 403)])
def test_a_name_that_is_not_allowed_is_refused_whatever_the_password(
    server: Server, host: str, status: int
) -> None:
    """Why a server behind a proxy needs --allowed-hosts."""
    url = f"{server.url}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert requests.get(url, auth=(USER, PASSWORD), headers={"Host": host}, timeout=10).status_code == status
