"""The state of a training that is under way, on disk, so that one that was interrupted goes on where it was.

DVC removes the outputs of a stage before it runs, so the states lie elsewhere: in a folder of the repository that
has a folder for each training, named by the hash of all that the training depends on. A training of other params,
data or code, or on another kind of machine, never finds them. Each is one safetensors file with its SHA-256 in its
name; the newest two are kept, so that a damaged one costs a few epochs and no more.
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from timemachine.base.errors import UserError
from timemachine.base.files import remove_leftovers, sha256_of, write_bytes
from timemachine.pipeline import handover

_NUM_KEPT = 2
# Of trainings that were never finished; the oldest go first, and that under way does not count.
_MAX_BYTES = 2**30
# Saving may take this part of the time of a training, and is not worth it for one that ends within a second.
_SHARE = 0.02
_LEAST_COST_S = 0.02


@dataclass(frozen=True)
class Snapshot:
    """What a training needs to go on after an epoch.

    Attributes:
        epoch: the last one done, from 1.
        tensors: weights, what the optimiser and the generators remember, best weights.
        facts: the rest: what JSON can write, and dataclasses of it, which come back as dictionaries.
    """

    epoch: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def training_hash(*depends_on: object) -> str:
    """Return a hash of what a training depends on: JSON values, and the code that has been imported for it."""
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode())
    main = getattr(sys.modules["__main__"], "__file__", None)
    files = {"__main__": main} | {
        name: module.__file__ for name, module in sys.modules.items() if name.startswith("timemachine.")
    }
    for name, file in sorted(files.items()):
        if file is not None:
            digest.update(f"{name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()[:16]


class Resumable:
    """The states of one training; a context manager around it and around the writing of what came out of it.

    Without an exception they are removed at its end, or handed over to the DVC that will. With one the newest is
    written, so that not even the epochs since the last time are lost, and the exception says so in a note. A disk
    that cannot be written to costs the states and a warning, never the training.

    Args:
        folder: the states of this training, and of no other; its parent has those of the others.
        name: of the training, for messages.
        num_epochs: of the training, for messages.

    Attributes:
        num_restored: epochs that an earlier process has done.
    """

    def __init__(self, folder: Path, name: str, num_epochs: int) -> None:
        self.folder, self._name, self._num_epochs = folder, name, num_epochs
        self._newest: Snapshot | None = None  # not on disk yet
        self.num_restored = 0
        self._cost_s = _LEAST_COST_S
        self._has_failed = False
        self._last_s = time.monotonic()

    def __enter__(self) -> Self:
        remove_leftovers(self.folder)
        self._make_room()
        return self

    def load(self) -> Snapshot | None:
        """Return the newest state that is whole, if there is one."""
        for path in self._paths():
            try:
                if sha256_of(path) != path.stem.rpartition("-")[2]:
                    raise UserError("its content does not have the hash of its name")
                with safe_open(path, "pt") as file:
                    keys, facts = file.keys(), json.loads(file.metadata()["facts"])
                    snapshot = Snapshot(_epoch_of(path), {key: file.get_tensor(key) for key in keys}, facts)
            except (OSError, ValueError, SafetensorError) as error:
                self._say(f"warning: {path} is of no use ({error})")
                continue
            self.num_restored = snapshot.epoch
            self._say(f"goes on after epoch {snapshot.epoch} of {self._num_epochs}")
            return snapshot
        return None

    def update(self, snapshot: Snapshot) -> None:
        """Take the state after an epoch, and write it if the last time is long enough ago."""
        copies = {key: t.detach().to("cpu", copy=True).contiguous() for key, t in snapshot.tensors.items()}
        self._newest = Snapshot(snapshot.epoch, copies, snapshot.facts)
        if time.monotonic() - self._last_s >= self._cost_s / _SHARE:
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if not handover.hand_over(self.folder):
                self._remove_all()
            return
        self._write()
        # With the same learning rate a training that diverged would do so again.
        can_go_on = not isinstance(error, ValueError)
        if paths := self._paths():
            further = ", and the same command goes on from there" if can_go_on else ""
            epoch = f"epoch {_epoch_of(paths[0])} of {self._num_epochs}"
            error.add_note(f"{self.folder} keeps the state of {self._name} after {epoch}{further}")
        elif can_go_on:
            error.add_note(f"there is no state of {self._name} yet, and the same command begins anew")

    def _write(self) -> None:
        if self._newest is None:
            return
        begin = time.monotonic()
        newest = self._newest
        content = save(dict(newest.tensors), {"facts": json.dumps(newest.facts, default=asdict)})
        name = f"epoch-{newest.epoch:09}-{hashlib.sha256(content).hexdigest()}.safetensors"
        try:
            write_bytes(self.folder / name, content)
            for path in self._paths()[_NUM_KEPT:]:
                path.unlink(missing_ok=True)
            self._newest = None
        except OSError as error:
            if not self._has_failed:
                self._say(f"warning: the state after epoch {newest.epoch} cannot be kept: {error}")
            self._has_failed = True
        self._last_s = time.monotonic()
        self._cost_s = max(_LEAST_COST_S, self._last_s - begin)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.safetensors"), reverse=True)

    def _remove_all(self) -> None:
        try:
            _remove(self.folder)
        except OSError as error:
            self._say(f"warning: {self.folder} cannot be removed: {error}")

    def _make_room(self) -> None:
        """Remove the states of trainings that were never finished, oldest first, as far as there are too many."""
        try:
            others = [folder for folder in self.folder.parent.glob("*/") if folder != self.folder]
            others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
            num_bytes = 0
            for folder in others:
                num_bytes += sum(path.stat().st_size for path in folder.iterdir())
                if num_bytes > _MAX_BYTES:
                    _remove(folder)
        except OSError:
            pass  # another process is at it

    def _say(self, text: str) -> None:
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)


def _epoch_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _remove(folder: Path) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()
