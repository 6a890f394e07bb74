"""The counts by Ray, on clusters of this machine."""

import secrets
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timemachine.base.errors import UserError
from timemachine.language.ngrams import cluster
from timemachine.language.ngrams.config import NgramsParams
from timemachine.language.ngrams.counts import count_ngrams
from timemachine.language.ngrams.engines import count_in_blocks
from timemachine.language.ngrams.partial import Span, TokenFile

pytestmark = pytest.mark.slow

TOKENS = np.random.default_rng(0).integers(0, 50, 6_000).astype(np.uint8)
STORE = {"object_store_memory": 100_000_000}


def by_ray(folder: Path) -> tuple[list[list[int]], list[int]]:
    """Count the trigrams of `TOKENS`, two pieces, by Ray in 12 tasks."""
    content = {
        "corpus": "words",
        "sequences": ["a"],
        "markov_corpus": "lines",
        "engine": "ray",
        "num_partitions": 2,
    }
    p = NgramsParams.model_validate(content)
    ngrams, counts = zip(*count_in_blocks(TOKENS, [0, 2_500], 3, 50, p, folder, length=500), strict=True)
    return np.concatenate(ngrams).tolist(), np.concatenate(counts).tolist()


def in_memory() -> tuple[list[list[int]], list[int]]:
    ngrams, counts = count_ngrams(TOKENS, 3, 50)
    return ngrams.tolist(), counts.tolist()


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of a head without a CPU and two workers with one each, which `RAY_ADDRESS` names."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # the cluster listens on an address of the network
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("ray", reason="the extra `cluster` is not installed")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, **STORE}
        before = signal.getsignal(signal.SIGTERM)  # Ray replaces it
        started = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                started.add_node(wait=False, num_cpus=1, **STORE)
            monkeypatch.setenv("RAY_ADDRESS", started.address)
            yield started
        finally:
            started.shutdown()
            signal.signal(signal.SIGTERM, before)


def test_a_worker_that_is_killed_changes_no_count_and_the_loss_of_all_is_one_line(
    two_workers: Any, tmp_path: Path
) -> None:
    first, second = two_workers.worker_nodes
    before_kill = list[int]()

    def kill() -> None:
        while not (counted := len(list(tmp_path.glob("counts/*.safetensors")))):
            time.sleep(0.01)
        before_kill.append(counted)
        two_workers.remove_node(first, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert by_ray(tmp_path) == in_memory()
    killer.join()
    assert before_kill[0] < 12
    two_workers.remove_node(second, allow_graceful=False)
    with pytest.raises(UserError, match=r"^ngrams.engine: ray: the cluster of RAY_ADDRESS=.* has had no worker"):
        by_ray(tmp_path)
    assert not (tmp_path / "spill").exists()


def test_a_local_cluster_is_started_and_gives_the_counts_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert by_ray(tmp_path) == in_memory()


def test_tokens_that_the_workers_do_not_see_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    tokens = TokenFile("/nowhere/tokens.npy", "|u1", 0, 100)
    with pytest.raises(
        UserError, match=r"^ngrams.engine: ray: /nowhere/tokens.npy: no such file on this machine$"
    ):
        cluster.count(tokens, [Span(0, 50, 100)], 2, 50, 1, 1.0, tmp_path / "counts", tmp_path)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no cluster at RAY_ADDRESS=127.0.0.1:1: .*refused"),
        ("nobody", "RAY_ADDRESS=nobody is neither host:port nor auto"),
        ("ray://nobody:10001", "RAY_ADDRESS=ray://nobody:10001 is neither host:port nor auto"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(
    address: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    monkeypatch.setenv("RAY_ADDRESS", address)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # read again
    with pytest.raises(UserError, match=f"^ngrams.engine: ray: {message}$"):
        by_ray(tmp_path)
    assert not (tmp_path / "spill").exists()
    assert list(temporary.iterdir()) == []


def test_ray_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="ray is not installed; run `make setup-cluster`"):
        by_ray(tmp_path)
