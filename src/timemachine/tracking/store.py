"""Where MLflow keeps things, and how to open it: the only module that imports mlflow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Before mlflow is imported: nothing is reported home, and a server that is down costs seconds, not minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

__all__ = ["Metric", "MlflowClient", "Param", "open_store", "tracking_uri"]

_LOCK_TIMEOUT_S = 300


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite store in the repository root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


@contextmanager
def open_store(root: Path, experiment: str) -> Iterator[tuple[MlflowClient, str]]:
    """Yield a client and the id of an experiment, made if absent; one process of this machine at a time.

    An empty SQLite store does not survive being opened by several processes at once, hence the lock. The
    artifacts of a database lie in `mlartifacts/` below `root`, those of a server where it says.

    Raises:
        ValueError: the store cannot be opened or written; the message names it.
    """
    uri = tracking_uri(root)
    served = uri.startswith("http")
    try:
        with FileLock(root / "mlflow.lock", timeout=_LOCK_TIMEOUT_S):
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(experiment)
            if found is None:
                location = None if served else (root.resolve() / "mlartifacts").as_uri()
                # The kind opens MLflow's page on runs and charts, not on traces of language agents.
                kind = {"mlflow.experimentKind": "custom_model_development"}
                experiment_id = client.create_experiment(experiment, location, kind)
            elif found.lifecycle_stage != "active":
                raise ValueError(
                    f"MLflow experiment {experiment!r} was deleted in {uri}; restore it or choose another"
                )
            else:
                experiment_id = found.experiment_id
            yield client, experiment_id
    except Timeout:
        raise ValueError(f"another process has held {root / 'mlflow.lock'} for {_LOCK_TIMEOUT_S} s") from None
    except (MlflowException, SQLAlchemyError, ImportError) as error:
        raise ValueError(f"MLflow at {uri}: {error}") from error
