"""Opening the MLflow store."""

import hashlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from timemachine.base.errors import UserError
from timemachine.base.files import replacing
from timemachine.tracking.address import hide_secrets, sqlite_file, tracking_uri

_LOCK_TIMEOUT_S = 300
# Part of the link in SQLAlchemy's message when a row exists already.
_CONFLICT = "/gkpj"
# Messages of SQLite about a file that is no database or is cut, and of MLflow about one it did not finish.
_DAMAGED = r"not a database|disk image is malformed|table \S+ already exists|duplicate column"

# Where MLflow keeps absolute addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


class ConflictError(UserError):
    """Another process wrote the same row at the same time."""


@dataclass(frozen=True)
class Store:
    """An open MLflow store.

    Attributes:
        client: MLflow's client, for runs and for the registry.
        experiment_id: ID of the experiment that it was opened with.
    """

    client: MlflowClient
    experiment_id: str


@contextmanager
def open_store(root: Path, experiment: str, *, alone: bool = True, create: bool = True) -> Iterator[Store]:
    """Open the store with an experiment, which is created if absent.

    The artifacts of a database are in `mlartifacts/` below `root`; a server decides for itself. If the repository
    was moved or copied with its store, the default store still has the former addresses of artifacts; with `alone`
    they are corrected.

    Args:
        root: the repository root.
        experiment: name of the MLflow experiment.
        alone: hold the lock of this machine while the store is open; else only while it is being opened, because
            several processes that open an empty SQLite store at once damage it.
        create: create a SQLite store that does not exist; else that is an error.

    Raises:
        UserError: the store is absent, or cannot be opened, read or written. This includes errors of MLflow,
            SQLAlchemy and HTTP that the block raises.
    """
    uri = tracking_uri(root)
    database = sqlite_file(uri)
    if database and not create and not database.exists():
        raise UserError(f"{database}: no such MLflow store; run `timemachine publish`")
    name = hashlib.sha256(hide_secrets(uri).encode()).hexdigest()[:16]
    elsewhere = Path(tempfile.gettempdir()) / f"timemachine-{os.getuid()}-{name}.lock"
    lock = FileLock(database.with_suffix(".lock") if database else elsewhere, timeout=_LOCK_TIMEOUT_S)
    try:
        with lock:
            if database and not database.exists():
                from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # takes seconds, rarely needed

                # Under a temporary name, because MLflow cannot open a database that was not finished.
                with replacing(database) as temporary:
                    SqlAlchemyStore(f"sqlite:///{temporary}", str(root / "mlruns")).engine.dispose()
            if alone and database == root.resolve() / "mlflow.db":
                _correct_addresses(database, _artifacts(root))
            try:
                client = MlflowClient(uri)
                store = Store(client, ensure_experiment(client, experiment, root))
            except ImportError as error:  # the driver of a database
                raise UserError(hide_secrets(f"MLflow at {uri}: {error}")) from None
            if alone:
                yield store
        if not alone:
            yield store
    except Timeout:
        raise UserError(f"another process has held {lock.lock_file} for {_LOCK_TIMEOUT_S} s") from None
    except (MlflowException, SQLAlchemyError, RequestException, sqlite3.Error) as error:
        # The message is one line, so the SQL statement and its values are left out.
        said = str(error).split("[SQL:")[0].strip()
        if database and re.search(_DAMAGED, said):
            said += "; the file is damaged or incomplete: move it away and run `timemachine publish`"
        kind = ConflictError if _CONFLICT in str(error) else UserError
        # Errors of MLflow may contain the password; without the cause it is in no traceback.
        cause = error if hide_secrets(uri) == uri else None
        raise kind(hide_secrets(f"MLflow at {uri}: {said}")) from cause


def local_folder(address: str) -> Path | None:
    """Return the folder of the address of artifacts; None if they are not on this machine."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def _artifacts(root: Path) -> str:
    return (root.resolve() / "mlartifacts").as_uri()


def _correct_addresses(database: Path, artifacts: str) -> None:
    """Replace the address of the folder `mlartifacts` of another place by the present one.

    MLflow 3.17 has no function for this: the address of a run cannot change.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        found = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (former,) in found:
            if former == artifacts or not re.fullmatch(r"file://.*/mlartifacts", former):
                continue
            for table, column in _ADDRESSES:
                # Table and column are constants.
                where = f"{column} = :former OR substr({column}, 1, length(:former) + 1) = :former || '/'"
                change = f"UPDATE {table} SET {column} = :now || substr({column}, length(:former) + 1)"  # noqa: S608
                connection.execute(f"{change} WHERE {where}", {"former": former, "now": artifacts})


def ensure_experiment(client: MlflowClient, experiment: str, root: Path) -> str:
    """Return the ID of an experiment, which is created if absent.

    Raises:
        UserError: the experiment was deleted.
        mlflow.exceptions.MlflowException: the store refused the request.
    """
    uri = client.tracking_uri
    found = client.get_experiment_by_name(experiment)
    if found is None:
        location = None if uri.startswith("http") else _artifacts(root)
        # With this kind MLflow's page opens with runs and charts, not with traces of language agents.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(experiment, location, kind))
        except MlflowException:
            # Another machine may have created it at the same time.
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        where = hide_secrets(uri)
        raise UserError(f"MLflow experiment {experiment!r} was deleted in {where}; restore it or choose another")
    return str(found.experiment_id)
