"""The address of the MLflow store. This module does not import MLflow, which takes seconds."""

import os
import re
from pathlib import Path

from timemachine.base.errors import UserError


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite store in the repository root.

    Raises:
        UserError: the path of the root has a character that MLflow does not accept in an address.
    """
    if own := os.environ.get("MLFLOW_TRACKING_URI"):
        return own
    if found := re.search(r"[?%]", str(root.resolve())):
        raise UserError(
            f"{root.resolve()}: MLflow does not accept {found[0]!r} in the path of its store; rename the "
            "folder, or set MLFLOW_TRACKING_URI"
        )
    return f"sqlite:///{root.resolve() / 'mlflow.db'}"


def hide_secrets(text: str) -> str:
    """Return a text without the users, passwords and secret query values of its URLs."""
    # The pattern below ends at a space; a password with spaces is known from the variable.
    if own := re.match(r"(?!sqlite:)[\w+]+://(.+)@", os.environ.get("MLFLOW_TRACKING_URI", "")):
        text = text.replace(f"{own[1]}@", "")
    text = re.sub(r"\b(?!sqlite:)(\w+://)\S*@", r"\1", text)
    return re.sub(
        r"([?&]\w*(?:pass|pwd|token|secret|key|connect)\w*=)[^&\s]*", r"\1...", text, flags=re.IGNORECASE
    )


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for other stores."""
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    return Path(found[1]).absolute() if found else None
