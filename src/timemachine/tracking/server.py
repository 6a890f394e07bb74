"""Start MLflow's model server with a version of the registry, or take a version's checkpoint from there."""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from timemachine.evaluation.trained import trained_recipes
from timemachine.tracking.registry import MODEL_NAME, Version, aliased, fetch, fetch_model
from timemachine.tracking.store import Store, open_store, tracking_uri, without_password

HOST = "127.0.0.1"


@contextmanager
def _named(root: Path, experiment: str, alias: str) -> Iterator[tuple[Store, Version]]:
    """Yield the store, and the version that an alias names in it."""
    uri = tracking_uri(root)
    where = f"{MODEL_NAME} in {without_password(uri)}"
    recipes = ", ".join(trained_recipes(root / "data/models/rnn")) or "`dvc repro` trains them"
    makes = "`timemachine retrain` makes one"
    nothing = ValueError(f"{where} has no {alias}; {makes}; `generate --model` takes recipes too: {recipes}")
    # Looking for a version makes no store.
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise nothing
    with open_store(root, experiment, alone=False) as store:
        version = aliased(store, alias)
        if version is None:
            raise nothing
        yield store, version


def fetch_alias(root: Path, experiment: str, alias: str, into: Path) -> Path:
    """Return the checkpoint folder of the version that an alias names, copied into a folder.

    Args:
        root: the repository root, where the default store lies.
        experiment: name of the MLflow experiment.
        alias: for example `champion`.
        into: the folder.

    Raises:
        ValueError: there is no such version, or the store cannot be reached.
    """
    with _named(root, experiment, alias) as (store, version):
        return fetch(store, version, into)


def serve(root: Path, experiment: str, alias: str, port: int) -> NoReturn:
    """Become MLflow's model server, with the version that an alias names, on this machine only.

    The server runs the code that the version brings, in this environment, and needs the store no more.

    Args:
        root: the repository root, where the default store lies.
        experiment: name of the MLflow experiment.
        alias: for example `champion`.
        port: of 127.0.0.1.

    Raises:
        ValueError: there is no such version, the store cannot be reached, or the port is taken.
    """
    with _named(root, experiment, alias) as (store, version):
        folder = _kept(store, version, root / ".timemachine/served")
    _check_free(port)
    body = json.dumps({"dataframe_records": [{"prefix": "time traveller", "num_preds": 50}]})
    url = f"http://{HOST}:{port}/invocations"
    print(f"serving {alias}: version {version.number} of {MODEL_NAME} ({version.name}, run {version.run_id})")
    print(f"curl {url} -H 'Content-Type: application/json' -d '{body}'", flush=True)
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder / "code"), "--factory"]
    command += ["--host", HOST, "--port", str(port), "timemachine.tracking.front:make_app"]
    # A step of a small network is too little work for two threads, which wait for each other.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    # It has no need of the store, nor of its password.
    environment = {key: value for key, value in environment.items() if not key.startswith("MLFLOW_TRACKING_")}
    os.execve(sys.executable, command, environment)


def _kept(store: Store, version: Version, served: Path) -> Path:
    """Return the model folder of a version below `served`; what is there already is not fetched again."""
    folder = served / version.run_id
    if not folder.is_dir():
        served.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=served) as temporary:
            fetched = fetch_model(store, version, Path(temporary))
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return folder


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ValueError(f"port {port} of {HOST}: {error}") from None
