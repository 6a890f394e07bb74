"""The model server with many clients at once: requests per second, latency, errors and growth of memory.

The checkpoint becomes the champion of a store in a temporary folder, and `timemachine serve` serves it. Each
client sends a request for 50 characters, decoded greedily, as soon as it has the answer to the last one. Clients
and server share the cores of the machine. An answer other than status 200 with the text that a single client gets
is an error. Memory is the resident set of the server and its children. The exit code is not 0 after an error, or
if memory grew by more than 5 % from half-time to the end.

Run: python benchmarks/serving.py [--model NAME] [--clients N] [--seconds N]
"""

import argparse
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import requests

from timemachine.pipeline import params, stage
from timemachine.pipeline.paths import find_checkpoint
from timemachine.tracking import registry
from timemachine.tracking.store import open_store

BODY = {"dataframe_records": [{"prefix": "time traveller", "num_preds": 50}]}
MAX_GROWTH = 0.05
PATIENCE_S = 60.0


class Load(NamedTuple):
    """The results of a period of load.

    Attributes:
        latencies_s: of the requests with the right answer, in seconds.
        errors: a description of each other answer.
        seconds: from the first request to the last answer.
    """

    latencies_s: list[float]
    errors: list[str]
    seconds: float


def register(folder: Path, checkpoint: Path) -> None:
    """Create a store in a folder, with a checkpoint as its champion."""
    with open_store(folder, params.load(folder / "params.yaml").publish.experiment) as store:
        run_id = store.client.create_run(store.experiment_id, run_name=checkpoint.name).info.run_id
        registry.package(checkpoint, folder / "packaged")
        store.client.log_artifacts(run_id, str(folder / "packaged"), registry.MODEL_FOLDER)
        version = registry.ensure_version(store, run_id, checkpoint.name)
        registry.move_alias(store, "champion", version, reason="benchmark")


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address and the process of a model server with the champion of a folder's store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "timemachine.cli", "serve", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not answers(f"http://127.0.0.1:{port}/ping"):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/invocations", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Return whether a server answers at a URL."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def put_under_load(url: str, wanted: bytes, num_clients: int, seconds: float) -> Load:
    """Send requests from several clients for a number of seconds."""
    latencies_s: list[float] = []
    errors: list[str] = []
    start_s = time.monotonic()

    def ask() -> None:
        with requests.Session() as session:
            while (begin_s := time.monotonic()) < start_s + seconds:
                try:
                    answer = session.post(url, json=BODY, timeout=PATIENCE_S)
                    error = "" if answer.content == wanted else f"{answer.status_code}: {answer.text[:200]}"
                except requests.RequestException as failure:
                    error = str(failure)
                if error:
                    errors.append(error)
                else:
                    latencies_s.append(time.monotonic() - begin_s)

    clients = [threading.Thread(target=ask) for _ in range(num_clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return Load(latencies_s, errors, time.monotonic() - start_s)


def memory_mb(server: psutil.Process) -> float:
    """Return the resident memory of a process and its children in MB; NaN if it is gone."""
    try:
        total = server.memory_info().rss
        children = server.children(recursive=True)
    except psutil.NoSuchProcess:
        return math.nan
    for child in children:
        with suppress(psutil.NoSuchProcess):  # it has ended since
            total += child.memory_info().rss
    return float(total) / 1e6


def faults(errors: Sequence[str], half_time_mb: float, end_mb: float) -> list[str]:
    """Return a description of each fault."""
    found = [f"errors: {len(errors)}, the first: {errors[0]}"] if errors else []
    if math.isnan(end_mb):
        found.append("the server is gone")
    elif end_mb > half_time_mb * (1 + MAX_GROWTH):
        found.append(f"memory grew by more than {MAX_GROWTH:.0%} from half-time to the end")
    return found


def main() -> None:
    """Print rate, latencies, errors and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="lstm", help="a recipe, or a checkpoint folder")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    root = stage.repository_root()
    checkpoint = find_checkpoint(root / "data/models/rnn", options.model)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        os.environ.pop(name, None)  # use the store in the temporary folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(root / "params.yaml", folder)
        register(folder, checkpoint)
        with served(folder) as (url, server):
            wanted = requests.post(url, json=BODY, timeout=PATIENCE_S)
            wanted.raise_for_status()
            warm_up_s, half_time_s = options.seconds / 12, options.seconds / 2
            loads, memories = [], []
            for seconds in (warm_up_s, half_time_s, half_time_s):
                loads.append(put_under_load(url, wanted.content, options.clients, seconds))
                memories.append(memory_mb(server))
    latencies_ms = np.array([1000 * s for load in loads[1:] for s in load.latencies_s])
    errors = [error for load in loads for error in load.errors]
    rate = len(latencies_ms) / sum(load.seconds for load in loads[1:])
    median, slow = np.percentile(latencies_ms, [50, 99]) if len(latencies_ms) else (np.nan, np.nan)
    times = f"{options.seconds:g} s after {warm_up_s:.1g} s of warm-up"
    print(f"{checkpoint.name}, {options.clients} clients for {times}")
    print(
        f"{rate:.1f} requests/s, median {median:,.0f} ms, 99th percentile {slow:,.0f} ms, {len(errors)} errors; "
        "memory of the server {:,.0f} MB after warm-up, {:,.0f} at half-time, {:,.0f} at the end".format(*memories)
    )
    if found := faults(errors, *memories[1:]):
        sys.exit("; ".join(found))


if __name__ == "__main__":
    with stage.one_line_errors("serving"):
        main()
