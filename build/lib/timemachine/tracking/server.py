"""Serve a version of the registered model with MLflow's model server, or load it in this process."""

import json
import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from timemachine.base.errors import UserError
from timemachine.pipeline.paths import ALIASES, SERVED, trained_recipes
from timemachine.tracking.address import hide_secrets, sqlite_file, tracking_uri
from timemachine.tracking.registry import (
    MODEL_FOLDER,
    MODEL_NAME,
    Version,
    aliased,
    download,
    fetch_checkpoint,
    recorded_moves,
)
from timemachine.tracking.store import Store, open_store

if TYPE_CHECKING:
    from timemachine.language.models.trained import LanguageModel  # imports torch, which serving does not need

HOST = "127.0.0.1"


@contextmanager
def _named(root: Path, experiment: str, alias: str, instead: str = "") -> Iterator[tuple[Store, Version]]:
    """Yield the open store and the version of an alias.

    Raises:
        UserError: there is no such version; the message ends with `instead`.
    """
    uri = tracking_uri(root)
    absent = UserError(f"{MODEL_NAME} in {hide_secrets(uri)} has no {alias}; run `timemachine retrain`{instead}")
    if (database := sqlite_file(uri)) and not database.exists():
        raise absent
    with open_store(root, experiment, alone=False, create=False) as store:
        version = aliased(store, alias)
        if version is None:
            raise absent
        yield store, version


def load_alias(root: Path, experiment: str, alias: str) -> "LanguageModel":
    """Return the version that an alias names, loaded with the present code.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment.
        alias: for example `champion`.

    Raises:
        UserError: there is no such version, the present code cannot read it, or the store cannot be reached.
    """
    from timemachine.language.models.trained import LanguageModel

    recipes = ", ".join(trained_recipes(root / "data/models/rnn")) or "none; run `dvc repro`"
    instead = f", or give a recipe to `generate --model`: {recipes}"
    with tempfile.TemporaryDirectory() as folder:
        with _named(root, experiment, alias, instead) as (store, version):
            checkpoint = fetch_checkpoint(store, version, Path(folder))
        try:
            return LanguageModel.load(checkpoint)
        except UserError as error:
            # The path of the temporary folder is of no use in the message.
            cause = str(error).replace(f"{checkpoint}/", "")
            raise UserError(
                f"{alias}, version {version.number}: {cause}. The present code cannot read this version: use a "
                f"recipe ({recipes}), or `timemachine serve`, which runs the code packaged with the version"
            ) from error


def serve_version(root: Path, experiment: str, alias: str, port: int) -> NoReturn:
    """Replace this process by MLflow's model server for the version that an alias names.

    The server runs the code packaged with the version, in this environment. It does not use the store.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment.
        alias: for example `champion`.
        port: port of 127.0.0.1.

    Raises:
        UserError: there is no such version, the store cannot be reached, or the port is taken.
    """
    with _named(root, experiment, alias) as (store, version):
        folder = _kept(store, version, root / ".timemachine/served")
        served = _described(store, version, alias)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"port {port} of {HOST}: {reason}; use --port to choose another") from None
    body = json.dumps({"dataframe_records": [{"prefix": "time traveller", "num_preds": 50}]})
    url = f"http://{HOST}:{port}"
    print(f"serving {alias}: version {version.number} of {MODEL_NAME} ({version.name}, run {version.run_id})")
    if (folder / "code/timemachine/tracking/page").is_dir():
        print(f"page: {url}/ and {url}/docs")
    else:
        print(f"no page: the code packaged with version {version.number} is older than the page")
    print(f"curl {url}/invocations -H 'Content-Type: application/json' -d '{body}'", flush=True)
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder / "code"), "--factory"]
    command += ["--host", HOST, "--port", str(port), "timemachine.tracking.front:make_app"]
    # One thread: a step of a small network is too little work to share.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | {SERVED: json.dumps(served)}
    # The server does not need the store and its password.
    environment = {key: value for key, value in environment.items() if not key.startswith("MLFLOW_TRACKING_")}
    os.execve(sys.executable, command, environment)  # noqa: S606 - uvicorn, no shell


def _described(store: Store, version: Version, alias: str) -> dict[str, Any]:
    """Return what the server tells its clients about a version.

    `since` is the time of the last move of the alias to the version, and the scores are those of its run; None if
    they are not recorded.
    """
    moves = [
        move for move in recorded_moves(store, version) if (move["alias"], move["to"]) == (alias, version.number)
    ]
    metrics = store.client.get_run(version.run_id).data.metrics
    scores = {name: metrics.get(name) for name in ("val_bits_per_character", "test_bits_per_character")}
    return {
        "model": MODEL_NAME,
        "alias": alias,
        "version": version.number,
        "name": version.name,
        "run_id": version.run_id,
        "since": moves[-1]["when"] if moves else None,
        # JSON has no NaN, the score of a model that diverged.
        **{name: x if x is not None and math.isfinite(x) else None for name, x in scores.items()},
    }


def _kept(store: Store, version: Version, served: Path) -> Path:
    """Return the model folder of a version below `served`, which then has only versions with an alias.

    The folder is downloaded if absent. Hidden folders are still being downloaded by other processes.
    """
    folder = served / version.run_id
    if not folder.is_dir():
        served.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=served, prefix=".") as temporary:
            fetched = download(store, version, MODEL_FOLDER, Path(temporary))
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process fetched it at the same time
                    raise
    named = (aliased(store, alias) for alias in ALIASES)
    kept = {version.run_id for version in named if version}
    for other in served.iterdir():
        if other.name not in kept and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)
    return folder
