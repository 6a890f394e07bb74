"""What a repository has without internet: its text, and what git returns."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from timemachine.base.errors import UserError

RAW = "data/raw/timemachine.txt"


def names_a_text(download: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a section `download` of a lock or of a commit has the keys that `text_at_hand` reads."""
    kinds = {"sha256": str, "sources": list, "max_bytes": int}
    return (
        isinstance(download, dict)
        and all(isinstance(download.get(key), kind) for key, kind in kinds.items())
        and all(isinstance(source, str) for source in download["sources"])
    )


def text_at_hand(root: Path, download: Mapping[str, Any]) -> bytes | None:
    """Return the text that the section `download` describes from a local file; None if there is none.

    Args:
        root: the repository root.
        download: has `sources`, `sha256` and `max_bytes`.
    """
    from timemachine.text.fetch import fetch  # imports requests; trainings use this module for git only

    local = [RAW, *(source for source in download["sources"] if "://" not in source)]
    limits = {"max_bytes": download["max_bytes"], "timeout_s": 0, "retries": 0}
    try:
        return fetch(local, download["sha256"], **limits, root=root, report=lambda _: None)
    except UserError:
        return None


def checkout(root: Path, commit: str, folder: Path) -> bool:
    """Write the files of a commit into an empty folder and return whether git has that commit."""
    archive = folder / "commit.zip"
    if git(root, "archive", "--format=zip", f"--output={archive}", commit) is None:
        return False
    shutil.unpack_archive(archive, folder)
    archive.unlink()
    return True


def git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command in a repository; None if it fails or git is not installed."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - git, no shell
    except OSError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
