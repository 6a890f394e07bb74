"""Where MLflow keeps things, and how to open it; imported before anything of MLflow, which it sets up."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Before mlflow is imported: nothing is reported home, and a server that is down costs seconds, not minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the URL may hold a password
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from timemachine.base.errors import UserError
from timemachine.base.files import replacing
from timemachine.tracking.address import sqlite_file, tracking_uri, without_password

_LOCK_TIMEOUT_S = 300
# By this page SQLAlchemy explains what a database says to a row that is there already.
_CONFLICT = "/gkpj"
# What SQLite says of a file that is none of its own or cut short, or that MLflow did not come to finish.
_DAMAGED = r"not a database|disk image is malformed|table \S+ already exists|duplicate column"


class ConflictError(UserError):
    """Another machine wrote the same at the same time."""


@dataclass(frozen=True)
class Store:
    """An open MLflow store.

    Attributes:
        client: for runs and for the registry.
        experiment_id: of the experiment that it was opened with.
        uri: where it is.
    """

    client: MlflowClient
    experiment_id: str
    uri: str


@contextmanager
def open_store(root: Path, experiment: str, *, alone: bool = True, create: bool = True) -> Iterator[Store]:
    """Yield the store with an experiment, made if absent.

    The artifacts of a database lie in `mlartifacts/` below `root`, those of a server where it says.

    Args:
        root: the repository root.
        experiment: name of the MLflow experiment.
        alone: one process of this machine at a time, as long as the store is open; else only while it is being
            opened, because an empty SQLite store does not survive being opened by several at once.
        create: make a SQLite store that is not there; who only looks should not.

    Raises:
        UserError: the store is absent, or cannot be opened, read or written; the message names it.
    """
    uri = tracking_uri(root)
    database = sqlite_file(uri)
    if database and not create and not database.exists():
        raise UserError(f"{database}: no such MLflow store; `timemachine publish` makes it")
    lock = FileLock(_lock_path(uri), timeout=_LOCK_TIMEOUT_S)
    try:
        with lock:
            if database and not database.exists():
                _make(database, root)
            client = MlflowClient(uri)
            store = Store(client, _experiment_id(client, experiment, uri, root), uri)
            if alone:
                yield store
        if not alone:
            yield store
    except Timeout:
        raise UserError(f"another process has held {lock.lock_file} for {_LOCK_TIMEOUT_S} s") from None
    except (MlflowException, SQLAlchemyError, ImportError) as error:
        # What the database was told, and with which values, is for nobody who reads one line.
        said = str(error).split("[SQL:")[0].strip()
        if database and re.search(_DAMAGED, said):
            said += "; it is damaged or half made: move it away, and `timemachine publish` makes a new one"
        kind = ConflictError if _CONFLICT in str(error) else ValueError
        # Nor is a password, which MLflow's own errors may say, for who reads a traceback.
        cause = error if without_password(uri) == uri else None
        raise kind(without_password(f"MLflow at {uri}: {said}")) from cause


def _make(database: Path, root: Path) -> None:
    """Make an empty SQLite store, whole or not at all: MLflow cannot open one that was killed half-way."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # slow, and rarely needed

    with replacing(database) as temporary:
        SqlAlchemyStore(f"sqlite:///{temporary}", str(root / "mlruns")).engine.dispose()


def _experiment_id(client: MlflowClient, experiment: str, uri: str, root: Path) -> str:
    found = client.get_experiment_by_name(experiment)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise UserError(
                f"MLflow experiment {experiment!r} was deleted in {without_password(uri)}; "
                "restore it or choose another"
            )
        return str(found.experiment_id)
    location = None if uri.startswith("http") else (root.resolve() / "mlartifacts").as_uri()
    # The kind opens MLflow's page on runs and charts, not on traces of language agents.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(experiment, location, kind))
    except MlflowException:
        # On a server another machine may have been faster.
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise
        return str(found.experiment_id)


def _lock_path(uri: str) -> Path:
    """Return the lock of a store, the same for all its users on this machine: beside a file, else in /tmp."""
    if database := sqlite_file(uri):
        return database.with_suffix(".lock")
    name = hashlib.sha256(without_password(uri).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"timemachine-{os.getuid()}-{name}.lock"
