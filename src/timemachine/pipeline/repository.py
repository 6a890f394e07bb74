"""What a second run could be made from, without asking anybody: the text, and what git knows."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from timemachine.text.fetch import fetch

RAW = "data/raw/timemachine.txt"


def names_a_text(download: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a section `download`, of a lock or of a commit, has what `text_at_hand` needs."""
    kinds = {"sha256": str, "sources": list, "max_bytes": int}
    return (
        isinstance(download, dict)
        and all(isinstance(download.get(key), kind) for key, kind in kinds.items())
        and all(isinstance(source, str) for source in download["sources"])
    )


def text_at_hand(root: Path, download: Mapping[str, Any]) -> bytes | None:
    """Return the text that the section `download` wants, from where no internet is needed; None if it is absent.

    Args:
        root: the repository root.
        download: with `sources`, `sha256` and `max_bytes`.
    """
    local = [RAW, *(source for source in download["sources"] if "://" not in source)]
    limits = {"max_bytes": download["max_bytes"], "timeout_s": 0, "retries": 0}  # files have no time-out
    try:
        return fetch(local, download["sha256"], **limits, root=root, report=lambda _: None)
    except ValueError:
        return None


def checkout(root: Path, commit: str, folder: Path) -> bool:
    """Write what a commit has of a repository into an empty folder; return whether git has it."""
    archive = folder / "commit.zip"
    if git(root, "archive", "--format=zip", f"--output={archive}", commit) is None:
        return False
    shutil.unpack_archive(archive, folder)
    archive.unlink()
    return True


def git(root: Path, *arguments: str) -> str | None:
    """Return what git says about a repository; None if it fails, or is not there."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - git, no shell
    except OSError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
