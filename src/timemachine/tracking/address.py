"""Where MLflow keeps things; apart from what opens it, because MLflow takes seconds to import."""

import os
import re
from pathlib import Path


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite store in the repository root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def without_password(text: str) -> str:
    """Return a text whose URLs show neither user nor password."""
    return re.sub(r"\b(?!sqlite:)(\w+://)\S*@", r"\1", text)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    return Path(found[1]).absolute() if found else None
