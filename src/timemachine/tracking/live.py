"""Tell MLflow of a training while it runs, without ever standing in its way.

The training appends what it has to tell to a file in `.timemachine/live/`, its spool. A process of its own,
`timemachine.tracking.sender`, reads that and sends it. Whatever the store does, the training waits for that
process only at its end, and not for long; what could not be sent stays in the spool until the next
`timemachine publish`.

This module does not import MLflow, which takes seconds.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from filelock import FileLock, Timeout

from timemachine.tracking.environment import SystemMetrics, training_tags

if TYPE_CHECKING:
    import torch

# A training shorter than this has nothing to show while it runs; publishing shows it.
_DELAY_S = 3.0
# How long a training waits, at its end, for what is still to be sent.
_PATIENCE_S = 8.0
_SECONDS_BETWEEN_SAMPLES = 2.0


def training_key(config: Mapping[str, Any]) -> str:
    """Return the hash of what a training depends on: all of its config but the epoch that came out of it."""
    before = {key: value for key, value in config.items() if key != "epoch"}
    return hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()


def spool_folder(root: Path) -> Path:
    """Return where the spools lie: in the repository, also for experiments that run in a temporary folder."""
    return root / ".timemachine/live"


def spool_lock(spool: Path) -> FileLock:
    """Return the lock that a training holds as long as it writes to its spool."""
    return FileLock(spool.with_suffix(".lock"))


def training_is_live(root: Path, key: str) -> bool:
    """Return whether a process of this machine is training what has this key."""
    lock = spool_lock(spool_folder(root) / f"{key}.jsonl")
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


class Live:
    """The run of one training in MLflow, while it grows; a context manager that raises nothing of its own.

    Two trainings of the same model at the same time are told of once: the second finds the spool taken.

    Args:
        root: the repository root.
        experiment: name of the MLflow experiment.
        config: what will be `config.json`, as far as it is known before the training.
        device: what the training runs on.
    """

    def __init__(self, root: Path, experiment: str, config: Mapping[str, Any], device: "torch.device") -> None:
        self._root, self._experiment, self._config, self._device = root, experiment, config, device
        self._name = str(config["name"])
        self._spool = spool_folder(root) / f"{training_key(config)}.jsonl"
        self._lock = spool_lock(self._spool)
        self._file: TextIO | None = None
        self._sender: subprocess.Popen[str] | None = None
        self._timer = threading.Timer(_DELAY_S, self._start_sender)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        try:
            self._spool.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._spool.unlink(missing_ok=True)
            self._file = self._spool.open("w")
        except Timeout:
            return self
        except OSError as error:
            self._give_up(error)
            return self
        self._metrics = SystemMetrics(self._device)
        self._last_sample_s = time.monotonic()
        stage = os.environ.get("DVC_STAGE", f"train_{self._config['family']}@{self._name}")
        tags = {"DVC_STAGE": stage, "mlflow.source.name": stage, **training_tags(self._device)}
        self._write({"experiment": self._experiment, "config": self._config, "tags": tags})
        self._timer.start()
        return self

    def update(self, row: Mapping[str, float]) -> None:
        """Tell what an epoch brought: a row of `history.csv`, and more if there is more."""
        named = {f"training/{name}": value for name, value in row.items() if name != "epoch"}
        now = time.monotonic()
        if self._file and now - self._last_sample_s >= _SECONDS_BETWEEN_SAMPLES:
            self._last_sample_s = now
            named |= self._metrics.sample()
        self._write({"step": int(row["epoch"]), "metrics": named})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._timer.ident:
            self._timer.join()
        status = "FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED"
        self._write({"end": status, "reason": "" if error is None else str(error)[:500]})
        if self._file:
            self._file.close()
        if self._sender:
            self._wait_for(self._sender)
        self._lock.release()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"ms": time.time_ns() // 1_000_000, **line}) + "\n")
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _start_sender(self) -> None:
        command = [sys.executable, "-m", "timemachine.tracking.sender", str(self._root), str(self._spool)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        # The process tries again by itself, as long as the training goes on.
        patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
        try:
            # In a session of its own, so that Ctrl-C ends the training alone; it ends with its standard input.
            self._sender = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command,
                env=os.environ | patience,
                stdin=pipe,
                stdout=pipe,
                stderr=nothing,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            self._give_up(error)

    def _wait_for(self, sender: "subprocess.Popen[str]") -> None:
        try:
            said, _ = sender.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            sender.kill()
            said = sender.communicate()[0] or f"MLflow did not answer within {_PATIENCE_S:g} s"
        if sender.returncode:
            reason = (said.splitlines() or ["the process that sends to MLflow failed"])[-1]
            self._warn(f"{reason}; what was not sent waits in {self._spool} for `timemachine publish`")

    def _give_up(self, error: OSError) -> None:
        self._warn(f"MLflow will not see it grow: {error}")
        self._file = None

    def _warn(self, text: str) -> None:
        print(f"{self._name}: warning: {text}", file=sys.stderr, flush=True)
