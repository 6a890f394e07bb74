"""The inbox: new texts move from `data/inbox/` to `data/accepted/`, or to `data/inbox/rejected/` with the reason.

A text is a regular file whose name ends in `.txt` in any case. Other files stay where they are: one that is still
being copied may be renamed later. Hidden files and README.md are ignored.

A process may be killed at any step. An accepted text is complete in `data/accepted/` before the original is
removed, and a reason is written before the file is moved, so the next round finds the original and takes the same
decision.
"""

import filecmp
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from timemachine.base.errors import UserError
from timemachine.base.files import write_bytes, write_text
from timemachine.pipeline.params import Params
from timemachine.retraining.admission import Candidate, Library, refusal
from timemachine.retraining.library import open_library
from timemachine.text.preparation.prepare import accepted_pieces
from timemachine.text.preparation.reading import as_text

# Larger files are rejected without being read: the check needs about ten times the memory. A text of this size in
# the table `texts` is mapped, and has no limit.
_MAX_BYTES = 200_000_000
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}\.txt")
# Leaves room for a number and `.reason`.
_MAX_NAME_BYTES = 200

Outcome = Literal["accepted", "changed", "unchanged", "rejected", "left"]


@dataclass(frozen=True)
class Decision:
    """The decision on an entry of the inbox.

    Attributes:
        path: path of the entry.
        outcome: `accepted`; `changed`: replaces an accepted text of the same name; `unchanged`: equal to that
            text; `rejected`; `left`: not a text, or changed since it was read.
        reason: why it is rejected or left.
        name: file name in `data/accepted/`.
        text: content for `data/accepted/`.
        seen: status of the file when it was read.
    """

    path: Path
    outcome: Outcome
    reason: str = ""
    name: str = ""
    text: bytes = b""
    seen: os.stat_result | None = None

    def line(self) -> str:
        """Return the decision in one line; unprintable names are escaped."""
        name = self.path.name if self.path.name.isprintable() else repr(self.path.name)
        where = f" as {self.name}" if self.name != self.path.name and self.name else ""
        return f"{name}: {self.outcome}{where}{f': {self.reason}' if self.reason else ''}"


class Inbox:
    """The inbox of a repository.

    Args:
        params: all parameters.
        root: the repository root.
    """

    def __init__(self, params: Params, root: Path) -> None:
        self._params, self._root = params, root
        self.folder = root / "data/inbox"
        self.accepted = root / "data/accepted"
        self.rejected = self.folder / "rejected"

    @property
    def num_accepted(self) -> int:
        """The number of accepted texts."""
        return len([*self.accepted.glob("*.txt")])

    def entries(self) -> list[Path]:
        """Return what is in the inbox, sorted by name, without what is ignored."""
        found = self.folder.iterdir() if self.folder.exists() else []
        entries = [path for path in found if path.name[0] != "." and path.name not in ("README.md", "rejected")]
        return sorted(entries, key=lambda path: os.fsencode(path.name))

    def examine(self) -> Iterator[Decision]:
        """Yield the decision on each entry, sorted by name, without changing anything.

        Each text is also compared with the texts accepted before it.

        Raises:
            UserError: the book is not available, or an accepted text cannot be read.
        """
        for path in self.entries():
            decision, candidate = self._decide(path)
            yield decision
            if candidate:
                self._library.add(decision.name, candidate.runs)

    def take(self) -> Iterator[Decision]:
        """Carry out each decision and yield it; an entry that cannot be moved is left for the next round.

        Raises:
            UserError: the book is not available, or an accepted text cannot be read.
        """
        for decision in self.examine():
            try:
                yield decision if decision.outcome == "left" else self._act(decision)
            except OSError as error:
                yield Decision(decision.path, "left", f"{decision.outcome}, but {error}")

    def check_accepted(self) -> None:
        """Check that the accepted texts contain no held-out text, also those that were not put there by `take`.

        Raises:
            UserError: a text contains held-out text or cannot be read, or the book is not available.
        """
        if accepted_pieces(self.accepted):
            for name, leak in self._library.leaks().items():
                raise UserError(f"{self.accepted / name}: {leak}; remove it")

    @cached_property
    def _library(self) -> Library:
        return open_library(self._params, self._root)

    def _decide(self, path: Path) -> tuple[Decision, Candidate | None]:
        """Return the decision on an entry, and the text if it is to extend the training part."""
        if path.suffix.lower() != ".txt":
            return Decision(path, "left", "not a .txt file"), None
        name, seen = _safe_name(path.name), None
        try:
            seen = path.lstat()
            if not stat.S_ISREG(seen.st_mode):
                raise UserError("it is not a regular file; put the text itself here, not a link")
            if seen.st_size > _MAX_BYTES:
                raise UserError(f"it has {seen.st_size} bytes; at most {_MAX_BYTES} are allowed")
            text = bytes(as_text(path.read_bytes(), path, licence="gutenberg"))
        except FileNotFoundError:
            return Decision(path, "left", "it was removed"), None
        except OSError as error:
            return Decision(path, "rejected", f"it cannot be read: {error.strerror or error}", seen=seen), None
        except UserError as error:
            return Decision(path, "rejected", str(error).removeprefix(f"{path}: "), seen=seen), None
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n") + b"\n"
        older = self.accepted / name
        if older.is_file() and older.read_bytes() == text:
            return Decision(path, "unchanged", name=name, seen=seen), None
        candidate = Candidate(text)
        if refused := refusal(candidate, name, self._library, self._params.retraining):
            return Decision(path, "rejected", refused, seen=seen), None
        outcome: Outcome = "changed" if older.exists() else "accepted"
        return Decision(path, outcome, name=name, text=text, seen=seen), candidate

    def _act(self, decision: Decision) -> Decision:
        path = decision.path
        if not _is_as_seen(decision):
            return Decision(path, "left", "it is still being written")
        if decision.outcome == "rejected":
            target = self._free_place(path)
            write_text(target.with_name(f"{target.name}.reason"), f"{decision.reason}\n")
            path.rename(target)
            return decision
        if decision.outcome != "unchanged":
            write_bytes(self.accepted / decision.name, decision.text)
        # A file that changed in the meantime stays; the next round takes it as `changed`.
        if _is_as_seen(decision):
            path.unlink()
        return decision

    def _free_place(self, path: Path) -> Path:
        """Return a free path for a rejected file, or the path of a rejected file with the same content."""
        name = Path(path.name if len(os.fsencode(path.name)) <= _MAX_NAME_BYTES else _safe_name(path.name))
        target, number = self.rejected / name, 1
        while os.path.lexists(target) and not _equal(path, target):
            number += 1
            target = self.rejected / f"{name.stem}-{number}{name.suffix}"
        return target


def _equal(path: Path, other: Path) -> bool:
    both_files = all(stat.S_ISREG(p.lstat().st_mode) for p in (path, other))
    return both_files and filecmp.cmp(path, other, shallow=False)


def _safe_name(name: str) -> str:
    """Return a name of letters, digits, `_`, `.` and `-`; it depends on the given name only."""
    if _SAFE_NAME.fullmatch(name):
        return name
    stem = re.sub("[^A-Za-z0-9]+", "_", name[:-4]).strip("_")[:60]
    # The hash keeps names different that differ in other characters.
    return f"{stem or 'text'}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}.txt"


def _is_as_seen(decision: Decision) -> bool:
    seen, now = decision.seen, decision.path.lstat()
    return not seen or (seen.st_size, seen.st_mtime_ns, seen.st_ino) == (now.st_size, now.st_mtime_ns, now.st_ino)
