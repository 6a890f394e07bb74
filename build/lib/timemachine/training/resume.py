"""The states of a training on disk, from which a training that was interrupted resumes.

DVC removes the outputs of a stage before it runs, so the states lie elsewhere: in a folder of the repository that
has a folder for each training, named by the hash of all that the training depends on. A training of other params,
data or code, or on another kind of machine, never finds them. Each state is one safetensors file with its SHA-256
in its name; the newest two are kept, so that a damaged one costs a few epochs only.

While a training runs, it holds a file lock in its folder, and no other process removes its states. The states of a
stage that is done stay, because DVC still has to record the stage: if it is killed before that, the stage runs
again and resumes at its end. A file `finished` in the folder names the stage, so that such states can be removed
once DVC has recorded it.
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from timemachine.base.errors import UserError
from timemachine.base.files import remove_leftovers, sha256_of, write_bytes

# The name of the file that holds the DVC stage of a training that is done.
FINISHED = "finished"
_LOCK = "running.lock"
_NUM_KEPT = 2
# Of all other trainings that do not run; the oldest are removed first.
_MAX_BYTES = 2**30
# The largest part of the time of a training that saving takes. Saving is assumed to take at least so long that a
# training of less than a second writes no state on its way.
_SHARE = 0.02
_LEAST_COST_S = 0.02


@dataclass(frozen=True)
class Snapshot:
    """What a training needs to go on after an epoch.

    Attributes:
        epoch: the last one done, from 1.
        tensors: weights, state of the optimizer and of the generators, best weights.
        facts: the rest: what JSON can write, and dataclasses of it, which come back as dictionaries.
    """

    epoch: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


# Modules that decide no byte of a result: how a script becomes a stage, messages, progress, tracking. A change in
# one of them must not discard a training that is half done. The config modules are not hashed either: they are
# imported for all of params.yaml, and the values that a training depends on are given to `training_hash`.
_NOT_HASHED = ("timemachine.pipeline.", "timemachine.tracking.")


def training_hash(*depends_on: object) -> str:
    """Return a hash of what a training depends on: JSON values, and the code that has been imported for it."""
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode())
    main = getattr(sys.modules["__main__"], "__file__", None)
    files = {"__main__": main} | {
        name: module.__file__
        for name, module in sys.modules.items()
        if name.startswith("timemachine.") and not name.startswith(_NOT_HASHED) and not name.endswith(".config")
    }
    for name, file in sorted(files.items()):
        if file is not None:
            digest.update(f"{name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()[:16]


class Resumable:
    """The states of one training; a context manager around the training and the writing of its results.

    It waits while another process runs the same training. At the end the newest state is written and the training
    marked as finished, or, without a stage, all states are removed. After an exception the newest state is written
    too, so that no epoch is lost, and a note on the exception says so. If the disk cannot be written to, a warning
    is printed and the training goes on without states.

    Args:
        folder: for the states of this training; its parent has the folders of other trainings.
        name: of the training, for messages.
        num_epochs: of the training, for messages.
        stage: as DVC calls the stage that trains, for example `train_rnn@lstm`; None outside of DVC.

    Attributes:
        num_restored: epochs that an earlier process has done.
    """

    def __init__(self, folder: Path, name: str, num_epochs: int, stage: str | None = None) -> None:
        self.folder, self._name, self._num_epochs, self._stage = folder, name, num_epochs, stage
        self._lock = FileLock(folder / _LOCK)
        self._newest: Snapshot | None = None  # not on disk yet
        self.num_restored = 0
        self._cost_s = _LEAST_COST_S
        self._has_failed = False
        self._last_s = time.monotonic()

    def __enter__(self) -> Self:
        has_waited = False
        # A folder that cannot be written to is reported when a state is to be written.
        with suppress(OSError):
            while not self._lock.is_locked:
                self.folder.mkdir(parents=True, exist_ok=True)  # the process waited for may have removed it
                try:
                    self._lock.acquire(timeout=1 if has_waited else 0)
                except FileNotFoundError:
                    continue
                except Timeout:
                    if not has_waited:
                        self._say("another process runs the same training; waiting for its end")
                    has_waited = True
            (self.folder / FINISHED).unlink(missing_ok=True)
        remove_leftovers(self.folder)
        self._make_room()
        return self

    def load(self) -> Snapshot | None:
        """Return the newest state that is whole, if there is one."""
        for path in self._paths():
            try:
                if sha256_of(path) != path.stem.rpartition("-")[2]:
                    raise UserError("its content does not have the hash in its name")
                with safe_open(path, "pt") as file:
                    keys, facts = file.keys(), json.loads(file.metadata()["facts"])
                    snapshot = Snapshot(_epoch_of(path), {key: file.get_tensor(key) for key in keys}, facts)
            except (OSError, ValueError, SafetensorError) as error:
                self._say(f"warning: {path} is damaged and ignored ({error})")
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

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None or self._stage is not None:
                self._write()
            if error is not None:
                self._add_note(error)
            elif self._stage is None:
                _remove_all_but_lock(self.folder)
            elif self._paths():
                write_bytes(self.folder / FINISHED, self._stage.encode())
        except OSError as refused:
            self._say(f"warning: {self.folder} cannot be cleaned up: {refused}")
        finally:
            if self._lock.is_locked:
                _remove_lock(self.folder)
            self._lock.release()

    def _add_note(self, error: BaseException) -> None:
        # With the same learning rate a training that diverged would do so again.
        can_go_on = not isinstance(error, UserError)
        if paths := self._paths():
            further = ", and the same command goes on from there" if can_go_on else ""
            epoch = f"epoch {_epoch_of(paths[0])} of {self._num_epochs}"
            error.add_note(f"{self.folder} keeps the state of {self._name} after {epoch}{further}")
        elif can_go_on:
            error.add_note(f"there is no state of {self._name} yet; the same command starts from the beginning")

    def _write(self) -> None:
        newest, begin = self._newest, time.monotonic()
        if newest is None:
            return
        content = save(dict(newest.tensors), {"facts": json.dumps(newest.facts, default=asdict)})
        name = f"epoch-{newest.epoch:09}-{hashlib.sha256(content).hexdigest()}.safetensors"
        try:
            write_bytes(self.folder / name, content)
            for path in self._paths()[_NUM_KEPT:]:
                path.unlink(missing_ok=True)
            self._newest = None
        except OSError as error:
            if not self._has_failed:
                self._say(f"warning: the state after epoch {newest.epoch} cannot be written: {error}")
            self._has_failed = True
        self._last_s = time.monotonic()
        self._cost_s = max(_LEAST_COST_S, self._last_s - begin)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.safetensors"), reverse=True)

    def _make_room(self) -> None:
        """Remove the states of trainings that do not run, oldest first, as far as they are too large together."""
        with suppress(OSError):  # another process removes them at the same time
            others = [folder for folder in self.folder.parent.glob("*/") if folder != self.folder]
            others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
            num_bytes = 0
            for folder in others:
                num_bytes += sum(path.stat().st_size for path in folder.iterdir())
                if num_bytes > _MAX_BYTES:
                    remove_states(folder)

    def _say(self, text: str) -> None:
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)


def _epoch_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def remove_states(folder: Path) -> bool:
    """Remove the folder of a training unless a process runs it.

    Returns:
        whether it was removed.
    """
    try:
        with FileLock(folder / _LOCK, timeout=0):
            _remove_all_but_lock(folder)
            _remove_lock(folder)
    except Timeout:
        return False
    return True


def _remove_all_but_lock(folder: Path) -> None:
    for path in folder.glob("*"):
        if path.name != _LOCK:
            path.unlink(missing_ok=True)


def _remove_lock(folder: Path) -> None:
    """Remove the lock file, and the folder if it holds nothing else; only for the process that holds the lock."""
    with suppress(OSError):  # states are left, or the next process has put its lock there
        (folder / _LOCK).unlink()
        folder.rmdir()
