"""What a repository has without internet: its texts, and what git returns."""

import subprocess
from pathlib import Path
from typing import Any

from timemachine.base.config import validate
from timemachine.base.errors import UserError
from timemachine.base.files import sha256_of
from timemachine.pipeline.lock import value_at
from timemachine.text.preparation.config import TextEntry
from timemachine.text.preparation.sources import files_in, files_of, named, sha256_of_text


def files_at_hand(root: Path, name: str, entry: TextEntry) -> dict[str, Path] | None:
    """Return the local files of a text by the names that they have in `data/raw/<name>/`; None if there are none.

    Args:
        root: the repository root.
        name: of the text.
        entry: its sources and its hash.
    """
    raw = root / "data/raw"
    earlier = f"{raw}/{name}.txt"  # where earlier versions put the text
    for source in (None, earlier, *(source for source in entry.sources if "://" not in source)):
        try:
            paths = files_in(raw / name) if source is None else files_of(source, root)
            files = named(name, paths) if paths else {}
            if files and sha256_of_text({file: sha256_of(path) for file, path in files.items()}) == entry.sha256:
                return files
        except (UserError, OSError):
            continue
    return None


def has_texts(root: Path, content: Any) -> bool:
    """Return whether all texts of params are at hand, so that the pipeline needs no internet.

    Args:
        root: the repository root.
        content: of a params.yaml, of this or an earlier version, in which the section `download` described the
            text. Wrong content has no texts.
    """
    texts = value_at(content, "texts")
    if not isinstance(texts, dict) or not texts:
        texts = {"timemachine": {key: value_at(content, "download", key) for key in ("sources", "sha256")}}
    try:
        entries = {str(name): validate(TextEntry, entry, "texts") for name, entry in texts.items()}
    except UserError:
        return False
    return all(files_at_hand(root, name, entry) for name, entry in entries.items())


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
