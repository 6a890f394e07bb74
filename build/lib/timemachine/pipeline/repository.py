"""What a repository has without internet: its text, and what git returns."""

import subprocess
from pathlib import Path
from typing import Any

from timemachine.base.config import validate
from timemachine.base.errors import UserError
from timemachine.text.config import DownloadParams

RAW = "data/raw/timemachine.txt"


def text_at_hand(root: Path, download: Any) -> bytes | None:
    """Return the text that a section `download` describes from a local file; None if there is none.

    Args:
        root: the repository root.
        download: the section in params.yaml, in a lock or in a commit; it names no text if it is not valid.
    """
    from timemachine.text.fetch import fetch  # imports requests; trainings use this module for git only

    try:
        wanted = validate(DownloadParams, download, "download")
        local = [RAW, *(source for source in wanted.sources if "://" not in source)]
        limits = {"max_bytes": wanted.max_bytes, "timeout_s": 0, "retries": 0}
        return fetch(local, wanted.sha256, **limits, root=root, report=lambda _: None)
    except UserError:
        return None


def git(root: Path, *arguments: str, content: bytes | None = None) -> str | None:
    """Return the output of a git command in a repository; None if it fails or git is not installed.

    Args:
        root: the repository root.
        *arguments: those of git.
        content: standard input of the command.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False)  # noqa: S603 - no shell
    except OSError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
