"""Where MLflow keeps things; apart from what opens it, because MLflow takes seconds to import."""

import os
import re
from pathlib import Path

from timemachine.base.errors import UserError


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite store in the repository root.

    Raises:
        UserError: the root has a name that MLflow would read as something else.
    """
    if own := os.environ.get("MLFLOW_TRACKING_URI"):
        return own
    if found := re.search(r"[?%]", str(root.resolve())):
        raise UserError(
            f"{root.resolve()}: MLflow keeps no store below a folder with {found[0]!r} in its name; rename it, or "
            "set MLFLOW_TRACKING_URI"
        )
    return f"sqlite:///{root.resolve() / 'mlflow.db'}"


def without_password(text: str) -> str:
    """Return a text whose URLs show neither user nor password, nor what is secret in their queries."""
    # A password with blanks is found as a whole only where it is known.
    if own := re.match(r"(?!sqlite:)[\w+]+://(.+)@", os.environ.get("MLFLOW_TRACKING_URI", "")):
        text = text.replace(f"{own[1]}@", "")
    text = re.sub(r"\b(?!sqlite:)(\w+://)\S*@", r"\1", text)
    return re.sub(
        r"([?&]\w*(?:pass|pwd|token|secret|key|connect)\w*=)[^&\s]*", r"\1...", text, flags=re.IGNORECASE
    )


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    return Path(found[1]).absolute() if found else None
