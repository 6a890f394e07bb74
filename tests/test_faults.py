"""What is left when things break: `dvc repro` killed at random moments, a full disk, a clock that jumps back.

`--kills N` sets how often the pipeline is killed; each run in between goes on where the one before was killed, and
every fifth ends. As often DVC alone is broken off before one of its file operations.
"""

import contextlib
import ctypes
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from graph import ROOT
from mlflow import MlflowClient
from repository import Repository
from small_pipeline import goes_on, make_small_pipeline, repro_broken_off
from tiny import ALL_STAGES, make_project, run_stage, tiny_params, write_params

from timemachine.pipeline.lock import md5_of
from timemachine.pipeline.repair import repair

pytestmark = pytest.mark.slow

KILLS_PER_RUN = 5
# How long processes that were asked to end, or whose DVC is gone, may take.
PATIENCE_S = 30
# About as long as the tiny pipeline takes; the moments of the first kills are drawn from it.
PIPELINE_S = 50
# Bytes that a file may have where the disk is said to be full.
FULL = 1000


def one_long_training(content: dict[str, Any]) -> None:
    """Have one model of each family, one of which trains long enough to be interrupted and to have states."""
    content["train_ar"] = {"linear": content["train_ar"]["linear"]}
    content["backtest"]["trained"] = {"linear": ["recursive"]}
    long = {"corpus": "whole", "num_train": None, "num_epochs": 40}
    content["train_rnn"] = {"carried": content["train_rnn"]["carried"] | long}
    content["bptt"]["corpus"] = "whole"
    content["dynamic_evaluation"]["models"] = []
    content["context_mixing_networks"] = {}
    content["compare_models"]["mixtures"] = {}


def results(folder: Path) -> dict[str, bytes]:
    """Return the content of everything that stages wrote but what says where it was published."""
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    own = ("data/own", "data/accepted", "data/inbox", "data/published.json")
    named = {str(path.relative_to(folder)): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if not name.startswith(own) and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run writes."""
    folder = tmp_path_factory.mktemp("expected")
    make_project(folder)
    content = tiny_params()
    one_long_training(content)
    write_params(folder, content)
    entries = {*content["texts"], *content["train_ar"], *content["train_rnn"]}
    for name, *entry in ALL_STAGES:
        if entries.issuperset(entry):
            run_stage(folder, name, *entry)
    return results(folder)


def hear_signals() -> None:
    """Reset signals that nohup, or a shell that runs the tests in the background, ignores."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Victim:
    """A repository in which `dvc repro` is run and killed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.repository = Repository(folder)
        self.repository.change(one_long_training)
        self.folder = folder

    def start(self) -> subprocess.Popen[bytes]:
        # Into a file: with a pipe one would wait for stages that outlive their DVC.
        with (self.folder.parent / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "timemachine.cli", "repro"],
                cwd=self.folder,
                env=self.repository.environment(),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=hear_signals,
            )

    def said(self) -> str:
        return (self.folder.parent / "said").read_text()

    def num_resumed(self) -> int:
        """Return how many trainings went on where they had been broken off."""
        return self.said().count("goes on after epoch")

    def run_to_the_end(self) -> None:
        assert self.start().wait() == 0, self.said()

    def is_sound(self, expected: dict[str, bytes]) -> None:
        """Check that after a repair everything is whole, readable and free, and a second repair finds nothing."""
        repair(self.folder, print)
        assert said_by_repair(self.folder) == []
        self.repository.dvc("status")
        for name, content in results(self.folder).items():
            assert content == expected[name], f"{name} is not what it will be"
        for kept in self.folder.glob(".dvc/cache/files/md5/*/*"):
            if not kept.stat().st_mode & stat.S_IWUSR:  # DVC trusts what is read-only, and hashes the rest again
                name = (kept.parent.name + kept.name).removesuffix(".dir")
                assert md5_of(kept) == name, f"{kept} is damaged"
        database = self.folder / "mlflow.db"
        if database.exists():
            with sqlite3.connect(database) as store:
                assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            store.close()
        deadline_s = time.monotonic() + PATIENCE_S
        while left := [
            process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(self.folder)
        ]:
            assert time.monotonic() < deadline_s, f"{left} outlived their DVC"
            time.sleep(0.1)
        if database.exists():
            MlflowClient(f"sqlite:///{database}").search_experiments()
        for lock in [*self.folder.glob(".timemachine/**/*.lock"), *self.folder.glob("mlflow.lock")]:
            with FileLock(lock, timeout=PATIENCE_S):
                pass

    def is_finished(self, expected: dict[str, bytes]) -> None:
        self.is_sound(expected)
        assert results(self.folder) == expected
        assert "up to date" in self.repository.dvc("status")
        assert [path for path in self.folder.rglob(".*.tmp*") if ".dvc" not in path.parts] == []
        assert list((self.folder / ".timemachine/resume").glob("*")) == []
        models = json.loads((self.folder / "data/published.json").read_text())["models"]
        with sqlite3.connect(self.folder / "mlflow.db") as store:
            (status,) = store.execute(
                "SELECT group_concat(DISTINCT status) FROM runs WHERE lifecycle_stage = 'active'"
            ).fetchone()
            (number,) = store.execute("SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'").fetchone()
        store.close()
        assert (status, number) == ("FINISHED", len(models) + 1)


def stage_of(dvc: int) -> psutil.Process | None:
    """The stage that a DVC is running, if it is."""
    with_stage = [child for child in psutil.Process(dvc).children() if "stages/" in " ".join(child.cmdline())]
    return with_stage[0] if with_stage else None


def cut_the_power(dvc: int) -> None:
    os.killpg(dvc, signal.SIGKILL)


def kill_dvc(dvc: int) -> None:
    os.kill(dvc, signal.SIGKILL)


def terminate_dvc(dvc: int) -> None:
    os.kill(dvc, signal.SIGTERM)


def terminate_all(dvc: int) -> None:
    os.killpg(dvc, signal.SIGTERM)


def press_ctrl_c(dvc: int) -> None:
    os.killpg(dvc, signal.SIGINT)


def kill_the_stage(dvc: int) -> None:
    stage = stage_of(dvc)
    (stage.kill if stage else lambda: kill_dvc(dvc))()


def fill_the_disk(dvc: int) -> None:
    """Limit the size of files that DVC and its stages write."""
    for process in [psutil.Process(dvc), *psutil.Process(dvc).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, (FULL, FULL))


# `make test` takes the first five.
WAYS = [cut_the_power, kill_dvc, fill_the_disk, terminate_all, press_ctrl_c, terminate_dvc, kill_the_stage]
# After these a run may go on: until it writes a file, or, as Python loses a Ctrl-C that comes while it destroys an
# object, to its end.
SLOW_WAYS = (fill_the_disk, press_ctrl_c)


def test_a_pipeline_killed_at_random_moments_goes_on_and_ends_in_the_same_bytes(
    expected: dict[str, bytes], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills = request.config.getoption("--kills")
    drawn, num_resumed = random.Random(0), 0
    pipeline_s, begin_s = float(PIPELINE_S), 0.0
    for number in range(kills):
        if number % KILLS_PER_RUN == 0:
            victim, begin_s = Victim(tmp_path / str(number)), time.monotonic()
        way, moment_s = WAYS[number % len(WAYS)], drawn.uniform(0.5, 2 * pipeline_s / KILLS_PER_RUN)
        dvc = victim.start()
        try:
            assert dvc.wait(moment_s) == 0, victim.said()
        except subprocess.TimeoutExpired:
            way(dvc.pid)
            dvc.wait(10 * PIPELINE_S if way in SLOW_WAYS else PATIENCE_S)
        num_resumed += victim.num_resumed()
        print(f"{number}: {way.__name__} after {moment_s:.1f} s; {num_resumed} trainings went on")
        victim.is_sound(expected)
        if number % KILLS_PER_RUN == KILLS_PER_RUN - 1 or number == kills - 1:
            victim.run_to_the_end()
            num_resumed += victim.num_resumed()
            pipeline_s = time.monotonic() - begin_s  # so that a slow machine meets the late stages too
            victim.is_finished(expected)
    assert num_resumed or kills < 50


def said_by_repair(folder: Path) -> list[str]:
    said: list[str] = []
    repair(folder, said.append)
    return said


def test_dvc_broken_off_before_any_of_its_file_operations_goes_on(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = make_small_pipeline(tmp_path / "whole")
    counted = Path(shutil.copytree(whole, tmp_path / "counted"))
    num_operations = int(repro_broken_off(counted, sys.maxsize, "kill").stdout.splitlines()[-1])
    kills = min(request.config.getoption("--kills"), num_operations)
    numbers = random.Random(0).sample(range(1, num_operations + 1), kills)
    for number, way in zip(numbers, itertools.cycle(["kill", "fill"]), strict=False):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        repro_broken_off(folder, number, way)
        goes_on(folder)


def test_a_signal_says_where_a_training_stopped_and_the_next_one_goes_on_from_there(project: Path) -> None:
    content = tiny_params()
    content["train_rnn"]["carried"].update(num_epochs=100_000)
    write_params(project, content)
    command = [sys.executable, str(ROOT / "stages/train_rnn.py"), "carried"]

    def states() -> list[Path]:
        return list(project.glob(".timemachine/resume/*/epoch-*"))

    stopped_after = [0]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        training = subprocess.Popen(
            command,
            cwd=project,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_signals,
        )
        while not any(int(path.name[6:15]) > stopped_after[-1] for path in states()):
            assert training.poll() is None
            time.sleep(0.05)
        training.send_signal(number)
        while number != signal.SIGINT and training.poll() is None:
            training.send_signal(number)  # neither does the state suffer from impatience, nor the message
        *said, last = training.communicate()[1].splitlines()
        assert training.returncode == 130
        found = re.fullmatch(
            r"train_rnn: interrupted; .*/resume/[0-9a-f]{16} keeps the state of carried after epoch (\d+) "
            r"of 100000, and the same command goes on from there",
            last,
        )
        assert found, last
        assert (f"carried: goes on after epoch {stopped_after[-1]} of 100000" in said) == (len(stopped_after) > 1)
        stopped_after.append(int(found[1]))
    assert sorted(set(stopped_after)) == stopped_after


def said_by(folder: Path, *stage: str, limit: Callable[[], None]) -> list[str]:
    """Run a stage that must fail in a process of its own, under a limit, and return what it says."""
    command = [sys.executable, str(ROOT / "stages" / f"{stage[0]}.py"), *stage[1:]]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 1, done.stderr
    return [line for line in done.stderr.splitlines() if ": epoch " not in line]


def no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL))


def no_rights_of_root() -> None:
    """Drop the right of root to ignore permissions."""
    drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
    libc = ctypes.CDLL(None)
    for capability in (dac_override, dac_read_search):
        libc.prctl(drop_from_bounding_set, capability, 0, 0, 0)


@pytest.mark.parametrize("stage", [("preprocess",), ("train_rnn", "gated"), ("learning_curves",)], ids="_".join)
def test_a_full_disk_ends_in_one_line_and_leaves_what_was_there(stage: tuple[str, ...], project: Path) -> None:
    before = results(project)
    said = said_by(project, *stage, limit=no_large_files)[-1]
    assert said.startswith(f"{stage[0]}: error: [Errno 27] File too large")
    assert "was not written and is unchanged" in said
    assert results(project) == before
    assert list(project.rglob(".*.tmp*")) == []
    run_stage(project, *stage)
    assert results(project) == before


def test_a_folder_that_may_only_be_read_ends_in_one_line(project: Path) -> None:
    before = results(project)
    folder = project / "data/results"
    folder.chmod(0o555)
    (said,) = said_by(project, "learning_curves", limit=no_rights_of_root)
    folder.chmod(0o755)
    assert said.startswith("learning_curves: error: [Errno 13] Permission denied: ")
    assert "data/results" in said
    assert results(project) == before
    run_stage(project, "learning_curves")
    assert results(project) == before


def test_a_clock_that_jumps_back_changes_nothing(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, project / "mlflow.db")
    before, hours = results(project), itertools.count()
    begin = time.time()
    monkeypatch.setattr(time, "time", lambda: begin - 3600 * next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (begin - 3600 * next(hours))))
    for stage in [("train_rnn", "windowed"), ("evaluate_perplexity", "windowed"), ("publish",), ("publish",)]:
        run_stage(project, *stage)
    assert next(hours) > 10
    assert results(project) == before
    with sqlite3.connect(project / "mlflow.db") as store:
        found = store.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall()
    store.close()
    assert found == [("FINISHED", 8)]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-9],
    "noise": lambda content: random.Random(0).randbytes(len(content)),
    "another kind": lambda content: b"null\n",
}
READERS = {
    "data/text/lines/tokens.npy": ("train_rnn", "carried"),
    "data/text/lines/vocabulary.json": ("train_rnn", "carried"),
    "data/text/lines/split.json": ("train_rnn", "carried"),
    "data/series/series.csv": ("train_ar", "linear"),
    "data/models/rnn/carried/model.safetensors": ("evaluate_perplexity", "carried"),
    "data/models/rnn/carried/config.json": ("evaluate_perplexity", "carried"),
    "data/models/rnn/carried/history.csv": ("learning_curves",),
    "data/models/rnn/carried/environment.json": ("learning_curves",),
    "data/models/ar/mlp/model.safetensors": ("evaluate_forecast",),
    "data/scores/ngram/whole.safetensors": ("compare_models",),
    "data/mixtures.safetensors": ("report_page",),
    "data/reports/perplexity.json": ("publish",),
}


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_in_one_line_and_nothing_is_overwritten(
    file: str, damage: str, project: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, project / "mlflow.db")
    (project / file).write_bytes(DAMAGES[damage]((project / file).read_bytes()))
    before = results(project)
    with pytest.raises(SystemExit) as stopped:
        run_stage(project, *READERS[file])
    said = str(stopped.value)
    assert "\n" not in said
    assert Path(file).parent.name in said
    assert results(project) == before
