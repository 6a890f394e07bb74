"""Partial counts by Ray Data: spans are counted in tasks, and one shuffle adds up equal n-grams.

Ray runs in a process of its own. A driver that loses its cluster can end its process or wait for ever, so the
process has time limits, and its parent turns its end into one line. Workers get this package's functions by value:
they need the same versions of Python and Ray, and pandas and safetensors, but not this package. They read the
tokens by path, so the repository must lie on storage that all machines share.
"""

import json
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from timemachine.base.errors import UserError
from timemachine.language.ngrams.partial import Span, TokenFile, count_span

# Seconds until an address must have answered and until a cluster must have started, and for which it may have no
# CPU afterwards.
_ANSWER_S, _START_S, _WITHOUT_CPU_S = 20.0, 120.0, 20.0
# Of a local cluster: GB for a task, and the smallest and the largest object store that Ray starts anywhere.
_TASK_GB, _LEAST_STORE_BYTES, _MOST_STORE_BYTES = 0.5, 80_000_000, 10**10
# File for the one line of an error.
_PROBLEM = "problem.txt"


def count(
    tokens: TokenFile,
    spans: Sequence[Span],
    n: int,
    vocab_size: int,
    num_partitions: int,
    max_memory: float,
    kept: Path,
    out: Path,
) -> None:
    """Write the counts of all spans, added up by partition, into a folder as Parquet.

    Args:
        tokens: the text.
        spans: the parts to count alone.
        n: tokens of an n-gram.
        vocab_size: number of indices.
        num_partitions: parts of the shuffle.
        max_memory: GB of a local cluster.
        kept: folder of partial counts.
        out: folder for the sums.

    Raises:
        UserError: Ray is not installed, the cluster is not there, has lost all its workers, or a task failed.
    """
    if find_spec("ray") is None:
        raise UserError("ngrams.engine: ray is not installed; run `make setup-cluster`, or choose auto")
    task = {
        "tokens": tokens,
        "spans": spans,
        "n": n,
        "vocab_size": vocab_size,
        "num_partitions": num_partitions,
        "max_memory": max_memory,
        "kept": str(kept.absolute()),
        "out": str(out.absolute()),
    }
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if not os.environ.get("RAY_ADDRESS"):  # a cluster of its own, which nobody else may use
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # The folder of a local cluster is removed here, because its process may end at any time.
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile("w+") as said,
    ):
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
            start_new_session=True,  # its processes are one group, which Ctrl-C does not reach
        )
        try:
            process.communicate(json.dumps(task | {"folder": folder}))
        finally:
            if process.poll() is None:  # this process was interrupted
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            with suppress(ProcessLookupError):  # of a cluster that did not start or end, some go on
                os.killpg(process.pid, signal.SIGKILL)
        said.seek(0)
        output = said.read()
    if process.returncode == 0:
        return
    if (problem := out / _PROBLEM).exists():
        raise UserError(f"ngrams.engine: ray: {problem.read_text()}")
    if process.returncode == 1:  # a traceback of Python
        raise RuntimeError(output)
    last = output.strip().rpartition("\n")[2]
    raise UserError(f"ngrams.engine: ray: Ray ended its process with code {process.returncode}: {last}")


def main() -> None:
    """Do the task that is given as JSON on standard input."""
    task = json.load(sys.stdin)
    import ray

    import timemachine

    out, address = Path(task["out"]), os.environ.get("RAY_ADDRESS")
    where = f"the cluster of RAY_ADDRESS={address}" if address else "the local cluster"
    threading.Thread(target=_watch, args=(ray, where, out), daemon=True).start()
    try:
        if address:
            _knock(address, out)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start(task["max_memory"], task["folder"])
        ray.cloudpickle.register_pickle_by_value(timemachine)
        _shuffle(task)
    except ConnectionError as error:
        _end(out, f"no answer from {where}: {str(error).splitlines()[0]}")
    except ray.exceptions.RayError as error:
        if (problem := _of_user(error)) is None:
            raise
        _end(out, problem)
    finally:
        ray.shutdown()


def _of_user(error: BaseException) -> str | None:
    """Return the message of the `UserError`, or the error of a file, that made a task fail.

    Ray passes on the traceback of a task as text, and not its exception.
    """
    found = re.search(
        r"^(?:[\w.]+\.UserError|OSError|PermissionError|MemoryError): (.*)$", str(error), re.MULTILINE
    )
    return found[1] if found else None


def _knock(address: str, out: Path) -> None:
    """End this process if an address is malformed, or nothing listens there, which Ray would try for long."""
    if address == "auto":  # the cluster that was started on this machine
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16) or "/" in host:
        _end(out, f"RAY_ADDRESS={address} is neither host:port nor auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        _end(out, f"no cluster at RAY_ADDRESS={address}: {error.strerror or error}")


def _start(max_memory: float, folder: str) -> None:
    """Start a cluster on this machine, which ends with this process."""
    import ray

    memory = min(max_memory * 1e9, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        ray.init(
            "local",
            num_cpus=max(1, min(os.cpu_count() or 1, int(max_memory / _TASK_GB))),
            object_store_memory=max(min(int(0.3 * memory), _MOST_STORE_BYTES), _LEAST_STORE_BYTES),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
    except Exception as error:  # Ray has no class for a machine that is too slow
        if "timed out" not in str(error):
            raise
        raise ConnectionError(str(error)) from None


def _end(out: Path, problem: str) -> None:
    """End this process with a line for its parent."""
    (out / _PROBLEM).write_text(problem)
    os._exit(2)


def _watch(ray: ModuleType, where: str, out: Path) -> None:
    """End this process when the cluster does not answer, or has had no CPU for a while.

    Ray waits for ever for a cluster that has lost its workers.
    """
    seen, parent = [time.monotonic() + _START_S - _WITHOUT_CPU_S], os.getppid()

    def look() -> None:
        while True:
            with suppress(Exception):  # not connected yet, or no longer
                if ray.is_initialized() and ray.cluster_resources().get("CPU", 0) > 0:
                    seen.append(time.monotonic())
            time.sleep(0.5)

    threading.Thread(target=look, daemon=True).start()
    while time.monotonic() - seen[-1] < _WITHOUT_CPU_S:
        time.sleep(0.5)
        if os.getppid() != parent:  # nobody waits for the counts
            os._exit(2)
    if len(seen) == 1:
        _end(out, f"no answer from {where} in {_START_S:g} s")
    _end(out, f"{where} has had no worker for {_WITHOUT_CPU_S:g} s; start one and run `dvc repro` again")


def _shuffle(task: dict[str, Any]) -> None:
    """Count each span in a task, and add up equal n-grams by one shuffle."""
    import pyarrow.parquet as pq
    import ray.data
    from ray.data.aggregate import Min, Sum

    tokens, kept = TokenFile(*task["tokens"]), Path(task["kept"])
    n, vocab_size, out = task["n"], task["vocab_size"], Path(task["out"])

    def count_one(row: Any) -> Any:
        partial = count_span(tokens, Span(*row["span"][0].tolist()), n, vocab_size, kept)
        return dict(zip(("key", "count", "first"), partial, strict=True))

    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"span": list(span)} for span in task["spans"]]
    sums = (
        ray.data.from_items(rows, override_num_blocks=max(len(rows), 1))
        .map_batches(count_one, batch_size=1)
        .groupby("key", num_partitions=task["num_partitions"])
        .aggregate(Sum("count", alias_name="count"), Min("first", alias_name="first"))
    )
    for i, block in enumerate(sums.iter_batches(batch_size=2**20, batch_format="pyarrow")):
        pq.write_table(block, out / f"{i}.parquet")


if __name__ == "__main__":
    main()
