"""Training in several processes, on the CPU by gloo."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.multiprocessing
from graph import ROOT
from tiny import make_project, run_stage, tiny_params, tiny_text, write_params

from timemachine.base.errors import UserError
from timemachine.base.files import read_json
from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.history import read_history
from timemachine.language.training.train import history_rows, train_language_model
from timemachine.text.preparation.prepare import build_corpus
from timemachine.text.tokens.corpus import Corpus
from timemachine.training.data_parallel import Ranks, joined

CPU = torch.device("cpu")
CORPUS = build_corpus(
    tiny_text(100),
    cleaning="whole",
    level="char",
    order="sorted",
    min_freq=0,
    reserved_tokens=[],
    fractions=(0.8, 0.1, 0.1),
)
SMALL: dict[str, Any] = {"corpus": "whole", "num_val": 30, "batch_size": 4, "num_steps": 8, "num_hiddens": 6}
SMALL |= {"num_train": 101, "num_epochs": 2, "clip_norm": 1.0}  # of 101 windows, one is left for a last minibatch
DROPOUTS = {"embedding_dim": 5, "embedding_dropout": 0.2, "weight_dropout": 0.3, "dropout": 0.2}
RECIPES = {
    "scratch": RnnRecipe(**SMALL, implementation="scratch"),
    "attached": RnnRecipe(**SMALL, implementation="scratch", detach=False),
    "random": RnnRecipe(**SMALL, sampling="random"),
    "stacked": RnnRecipe(**SMALL, **DROPOUTS, cell="gru", num_layers=2, optimizer="adamw", lr=0.01, warmup=0.3),
    "windows": RnnRecipe(**SMALL, **DROPOUTS, cell="lstm", sampling="windows", optimizer="adam", lr=0.01),
    "stopping": RnnRecipe(**SMALL | {"num_epochs": 9}, cell="lstm", optimizer="adam", lr=0.5, patience=1),
}
LOSSES = ("nats", "val_nats")


def trained(name: str, ranks: Ranks) -> tuple[list[dict[str, float]], list[list[float]]]:
    """Return the history and the weights of a training."""
    model, history = train_language_model(RECIPES[name], CORPUS, CPU, ranks=ranks)
    return history_rows(history), [weights.flatten().tolist() for weights in model.state_dict().values()]


def train_all(rank: int, size: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined(rank, size, CPU) as ranks:
        results = {name: trained(name, ranks) for name in RECIPES}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(results))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes have trained."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(train_all, (2, free_port(), str(folder)), nprocs=2)
    return [read_json(folder / f"{rank}.json") for rank in range(2)]


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_compute_the_losses_of_one(name: str, by_rank: list[dict[str, Any]]) -> None:
    expected, _ = trained(name, Ranks())
    found, weights = by_rank[0][name]
    assert len(found) == len(expected)
    for row, alone in zip(found, expected, strict=True):
        assert [row[key] for key in LOSSES] == pytest.approx([alone[key] for key in LOSSES], abs=1e-5)
        assert row["tokens"] == alone["tokens"]
    assert by_rank[1][name][1] == weights


@pytest.mark.parametrize(("num_rows", "size"), [(1024, 4), (10, 3), (2, 5), (1, 1)])
def test_every_row_has_one_process(num_rows: int, size: int) -> None:
    rows = [row for rank in range(size) for row in range(num_rows)[Ranks(rank, size).share(num_rows)]]
    assert rows == list(range(num_rows))


def test_processes_that_cannot_share_the_rows_are_refused_with_the_numbers_that_can() -> None:
    message = "3 processes cannot share the 4 rows of batch_size equally; choose 1, 2 or 4"
    with pytest.raises(ValueError, match=message):
        RnnRecipe(**SMALL, num_processes=3)
    with pytest.raises(UserError, match=message):
        train_language_model(RECIPES["scratch"], CORPUS, CPU, ranks=Ranks(0, 3))
    with pytest.raises(UserError, match="8 processes cannot share the 4 rows"):
        train_language_model(RECIPES["scratch"], CORPUS, CPU, ranks=Ranks(0, 8))


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(UserError, match=f"MASTER_PORT: {port} is taken"), joined(0, 2, CPU):
            pass


@pytest.mark.slow
def test_a_training_whose_process_is_killed_goes_on_with_another_number(tmp_path: Path) -> None:
    content = tiny_params()
    recipe = content["train_rnn"]["gated"]
    recipe |= {"num_train": 400, "num_val": 0, "num_epochs": 100, "patience": None, "num_processes": 2}
    make_project(tmp_path)
    write_params(tmp_path, content)
    for name, *entry in (("check",), ("download", "timemachine"), ("preprocess",)):
        run_stage(tmp_path, name, *entry)
    command = [sys.executable, str(ROOT / "stages/train_rnn.py"), "gated"]
    with (tmp_path / "said").open("w") as said:
        process = psutil.Popen(command, cwd=tmp_path, stderr=said)
    deadline_s = time.monotonic() + 60
    while not (states := list(tmp_path.glob(".timemachine/resume/*/epoch-*"))):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    ranks = process.children()
    assert len(ranks) == 2
    os.kill(max(ranks, key=lambda rank: int(rank.environ()["RANK"])).pid, signal.SIGKILL)
    assert process.wait(60) == 1
    _, alive = psutil.wait_procs(ranks, 30)
    assert alive == []
    said_lines = [line for line in (tmp_path / "said").read_text().splitlines() if line.startswith("train_rnn")]
    assert len(said_lines) == 1, said_lines
    assert re.search(
        "(another process of the training has ended, or does not answer|interrupted); .* goes on from there",
        said_lines[0],
    )
    assert not list(tmp_path.glob("data/models/rnn/gated/*"))
    assert {path.suffix for path in states[0].parent.iterdir() if path.is_file()} == {".safetensors"}

    recipe["num_processes"] = 1
    write_params(tmp_path, content)
    again = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "gated: goes on after epoch" in again.stderr
    history = read_history(tmp_path / "data/models/rnn/gated/history.csv")
    alone = train_language_model(RnnRecipe(**recipe), Corpus.load(tmp_path / "data/text/whole"), CPU)[1]
    assert [row["nats"] for row in history] == pytest.approx([epoch.loss for epoch in alone], abs=1e-3)
