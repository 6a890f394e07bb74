"""Live logging of a training to MLflow, without slowing the training down.

The training appends lines to a file in `.timemachine/live/`, its spool. Another process,
`timemachine.tracking.sender`, sends them to MLflow. The training waits for that process only at its end, for at
most a few seconds. Lines that could not be sent stay in the spool until the next `timemachine publish`.

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

from timemachine.tracking.environment import system_metrics, training_tags

if TYPE_CHECKING:
    import torch

# A shorter training is not logged live, only when it is published.
_DELAY_S = 6.0
# How long a training waits at its end for lines that are still to be sent.
_PATIENCE_S = 8.0
_SECONDS_BETWEEN_SAMPLES = 2.0
# Folder of the spools in the repository, even if DVC runs a stage in a temporary folder.
SPOOLS = Path(".timemachine/live")


def training_key(config: Mapping[str, Any]) -> str:
    """Return the hash of the config of a training, without its result `epoch`."""
    before = {key: value for key, value in config.items() if key != "epoch"}
    return hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()


def spool_lock(spool: Path) -> FileLock:
    """Return the lock that a training holds while it writes to its spool."""
    return FileLock(spool.with_suffix(".lock"))


def training_is_live(root: Path, key: str) -> bool:
    """Return whether a training with this key is running on this machine."""
    lock = spool_lock(root / SPOOLS / f"{key}.jsonl")
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


class Live:
    """A context manager that logs one training to MLflow while it runs. Its own errors are printed as warnings.

    If the same model is trained twice at the same time, only the first training is logged.

    Args:
        root: the repository root.
        experiment: name of the MLflow experiment.
        config: the content of `config.json` as far as it is known before the training.
        device: device of the training.
    """

    def __init__(self, root: Path, experiment: str, config: Mapping[str, Any], device: "torch.device") -> None:
        self._root, self._experiment, self._config, self._device = root, experiment, config, device
        self._name = str(config["name"])
        self._spool = root / SPOOLS / f"{training_key(config)}.jsonl"
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
        system_metrics(self._device)  # the load is measured from here
        self._last_sample_s = time.monotonic()
        stage = os.environ.get("DVC_STAGE", f"train_{self._config['family']}@{self._name}")
        tags = {"DVC_STAGE": stage, "mlflow.source.name": stage, **training_tags(self._device)}
        self._write({"experiment": self._experiment, "config": self._config, "tags": tags})
        self._timer.start()
        return self

    def update(self, row: Mapping[str, float]) -> None:
        """Log the metrics of an epoch: a row of `history.csv`, possibly with further columns."""
        named = {f"training/{name}": value for name, value in row.items() if name not in {"epoch", "tokens"}}
        now = time.monotonic()
        if self._file and now - self._last_sample_s >= _SECONDS_BETWEEN_SAMPLES:
            self._last_sample_s = now
            named |= system_metrics(self._device)
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
        if sender := self._sender:
            try:
                said, _ = sender.communicate(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                sender.kill()
                said = sender.communicate()[0] or f"MLflow did not answer within {_PATIENCE_S:g} s"
            if sender.returncode:
                reason = (said.splitlines() or ["the process that sends to MLflow failed"])[-1]
                self._warn(f"{reason}; unsent lines are in {self._spool}, `timemachine publish` sends them")
        self._lock.release()

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            if self._file:
                self._file.write(json.dumps({"ms": time.time_ns() // 1_000_000, **line}) + "\n")
                self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _start_sender(self) -> None:
        command = [sys.executable, "-m", "timemachine.tracking.sender", str(self._root), str(self._spool)]
        # The sender tries again as long as the training runs.
        patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
        try:
            # In a session of its own, so that Ctrl-C does not end it; it ends when its standard input is closed.
            self._sender = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command,
                env=os.environ | patience,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._warn(f"live logging to MLflow is disabled: {error}")
        self._file = None

    def _warn(self, text: str) -> None:
        print(f"{self._name}: warning: {text}", file=sys.stderr, flush=True)
