"""Start MLflow's model server with a version of the registry, or take a version's checkpoint from there."""

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from timemachine.base.errors import UserError
from timemachine.pipeline.paths import ALIASES, trained_recipes
from timemachine.tracking.address import sqlite_file, tracking_uri, without_password
from timemachine.tracking.registry import MODEL_NAME, Version, aliased, fetch, fetch_model
from timemachine.tracking.store import Store, open_store

if TYPE_CHECKING:
    from timemachine.language.models.trained import (
        LanguageModel,  # imports torch, which to serve does not need here
    )

HOST = "127.0.0.1"


@contextmanager
def _named(root: Path, experiment: str, alias: str, instead: str = "") -> Iterator[tuple[Store, Version]]:
    """Yield the store, and the version that an alias names in it, else an error that says what to do."""
    uri = tracking_uri(root)
    where = f"{MODEL_NAME} in {without_password(uri)}"
    nothing = ValueError(f"{where} has no {alias}; `timemachine retrain` makes one{instead}")
    # Looking for a version makes no store.
    if (database := sqlite_file(uri)) and not database.exists():
        raise nothing
    with open_store(root, experiment, alone=False, create=False) as store:
        version = aliased(store, alias)
        if version is None:
            raise nothing
        yield store, version


def load_alias(root: Path, experiment: str, alias: str) -> "LanguageModel":
    """Return the version that an alias names, read by the code of this library as it is now.

    Args:
        root: the repository root, where the default store lies.
        experiment: name of the MLflow experiment.
        alias: for example `champion`.

    Raises:
        UserError: there is no such version, this code cannot read it, or the store cannot be reached.
    """
    from timemachine.language.models.trained import LanguageModel

    recipes = ", ".join(trained_recipes(root / "data/models/rnn")) or "`dvc repro` trains them"
    instead = f"; `generate --model` takes recipes too: {recipes}"
    with tempfile.TemporaryDirectory() as folder:
        with _named(root, experiment, alias, instead) as (store, version):
            checkpoint = fetch(store, version, Path(folder))
        try:
            return LanguageModel.load(checkpoint)
        except ValueError as error:
            # The folder is gone when somebody reads of it.
            cause = str(error).replace(f"{checkpoint}/", "")
            raise UserError(
                f"{alias}, version {version.number}: {cause}. This code cannot read it: name a recipe "
                f"({recipes}), or ask `timemachine serve`, which runs the code that the version brings"
            ) from error


def serve(root: Path, experiment: str, alias: str, port: int) -> NoReturn:
    """Become MLflow's model server, with the version that an alias names, on this machine only.

    The server runs the code that the version brings, in this environment, and needs the store no more.

    Args:
        root: the repository root, where the default store lies.
        experiment: name of the MLflow experiment.
        alias: for example `champion`.
        port: of 127.0.0.1.

    Raises:
        UserError: there is no such version, the store cannot be reached, or the port is taken.
    """
    with _named(root, experiment, alias) as (store, version):
        folder = _kept(store, version, root / ".timemachine/served")
        _prune(store, root / ".timemachine/served")
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
    os.execve(sys.executable, command, environment)  # noqa: S606 - uvicorn, and no shell is meant


def _kept(store: Store, version: Version, served: Path) -> Path:
    """Return the model folder of a version below `served`; what is there already is not fetched again."""
    folder = served / version.run_id
    if not folder.is_dir():
        served.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=served, prefix=".") as temporary:
            fetched = fetch_model(store, version, Path(temporary))
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return folder


def _prune(store: Store, served: Path) -> None:
    """Remove the model folders of versions that no alias names any more; hidden ones are being fetched."""
    named = (aliased(store, alias) for alias in ALIASES)
    kept = {version.run_id for version in named if version}
    for folder in served.iterdir():
        if folder.name not in kept and not folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port} of {HOST}: {error}") from None
