"""Send the spool of a training to MLflow, while the training runs or afterwards.

`timemachine.tracking.live` starts it as `python -m timemachine.tracking.sender ROOT SPOOL`. It ends when its
standard input is closed.
"""

import json
import select
import signal
import sys
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from filelock import Timeout
from mlflow.entities import Metric, Param

from timemachine.base.errors import UserError
from timemachine.tracking.live import SPOOLS, spool_lock, training_key
from timemachine.tracking.runs import KEY, TRAINING, dataset_of, find_runs, log_dataset
from timemachine.tracking.store import Store, open_store

_SECONDS_BETWEEN_BATCHES = 2.0
# The keys of a spool's first line, of an epoch and of the last line.
_LINES = ({"ms", "experiment", "config", "tags"}, {"ms", "step", "metrics"}, {"ms", "end", "reason"})


class Sender:
    """Reads and sends one spool. Epochs that MLflow has already are not sent again.

    Args:
        spool: the file that `timemachine.tracking.live.Live` writes.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self._offset = 0
        self.head: dict[str, Any] = {}
        self._run_id = ""
        self._steps: set[int] = set()
        self._waiting: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None

    def read(self) -> None:
        """Read the lines that were written since the last call.

        Raises:
            UserError: the spool is damaged.
        """
        with self.spool.open("rb") as file:
            file.seek(self._offset)
            # A line without an end is still being written.
            for text in takewhile(lambda text: text.endswith(b"\n"), file):
                self._offset += len(text)
                try:
                    line = json.loads(text)
                except ValueError as error:
                    raise UserError(f"{self.spool}: damaged ({error})") from None
                if not isinstance(line, dict) or line.keys() not in _LINES:
                    raise UserError(f"{self.spool}: damaged")
                if "config" in line:
                    self.head = line
                elif "end" in line:
                    self.end = line
                else:
                    self._waiting.append(line)

    def send(self, store: Store) -> None:
        """Send the lines that were read to the run of the training, which is created if absent."""
        if not self._run_id:
            self._open_run(store)
        lines = [line for line in self._waiting if line["step"] not in self._steps]
        points = [
            Metric(key, value, line["ms"], line["step"])
            for line in lines
            for key, value in line["metrics"].items()
        ]
        store.client.log_batch(self._run_id, points)
        self._waiting.clear()

    def finish(self, store: Store) -> None:
        """Set the final status of the run; without an end in the spool the training was killed."""
        end = self.end or {"end": "KILLED", "reason": "", "ms": None}
        if end["reason"]:
            store.client.set_tag(self._run_id, "timemachine.reason", end["reason"])
        store.client.set_terminated(self._run_id, end["end"], end["ms"])

    def _open_run(self, store: Store) -> None:
        """Find the run of the training and the epochs that it has already, or create it."""
        client, config = store.client, self.head["config"]
        key = training_key(config)
        for run in find_runs(store, TRAINING, key):
            if KEY not in run.data.tags and run.info.status != "FAILED":
                client.update_run(run.info.run_id, status="RUNNING")
                curve = next((name for name in run.data.metrics if name.startswith("training/")), None)
                points = client.get_metric_history(run.info.run_id, curve) if curve else []
                self._run_id, self._steps = run.info.run_id, {point.step for point in points}
                return
        kind = {"timemachine.kind": "model", "timemachine.family": config["family"], TRAINING: key}
        tags = kind | {"timemachine.data_sha256": config["data_sha256"]} | self.head["tags"]
        run = client.create_run(store.experiment_id, self.head["ms"], tags, config["name"])
        client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in config.items()])
        log_dataset(store, run.info.run_id, *dataset_of(config))
        self._run_id = run.info.run_id


def send_waiting(store: Store, root: Path, experiment: str) -> None:
    """Send the spools of trainings that have ended, and remove the spools and their locks."""
    folder = root / SPOOLS
    for name in sorted({path.stem for path in [*folder.glob("*.jsonl"), *folder.glob("*.lock")]}):
        spool = folder / f"{name}.jsonl"
        lock = spool_lock(spool)
        with suppress(Timeout), lock.acquire(timeout=0):
            # A damaged or absent spool is removed unsent: publishing logs the training from its files.
            with suppress(FileNotFoundError, UserError):
                sender = Sender(spool)
                sender.read()
                if sender.head and sender.head["experiment"] != experiment:
                    continue
                if sender.head:
                    sender.send(store)
                    sender.finish(store)
            spool.unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def main(root: Path, spool: Path) -> None:
    """Send a spool while it grows, until standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sender = Sender(spool)
    over, failed = False, False
    while not over:
        over = bool(select.select([sys.stdin], [], [], _SECONDS_BETWEEN_BATCHES)[0])
        failed = False
        try:
            sender.read()
            with open_store(root, sender.head["experiment"], alone=False) as store:
                sender.send(store)
                if over:
                    sender.finish(store)
        except UserError as error:
            failed = True
            print(" ".join(str(error).split()), flush=True)
    if failed:
        sys.exit(1)
    if sender.end:
        spool.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
