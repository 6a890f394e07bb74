"""The table over seeds, from runs in a real MLflow store in SQLite."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from tiny import make_project
from typer.testing import CliRunner

from timemachine.cli import app
from timemachine.tracking.compare import DEFAULT_METRICS
from timemachine.tracking.seeds import as_text, compare_seeds

pytestmark = pytest.mark.slow

BITS, NATS = "val_bits_per_character", "val_nats"
AddRun = Callable[..., str]


@pytest.fixture
def add(tmp_path: Path, empty_store: Path) -> AddRun:
    """A function that adds a run to the store of `tmp_path`; a run is newer than those before it."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment_id = client.create_experiment("timemachine")
    tags = [RunTag("timemachine.kind", "model"), RunTag("timemachine.family", "rnn")]
    start_time = 0

    def add(name: str, seed: int, metrics: dict[str, float], status: str = "FINISHED", **params: object) -> str:
        nonlocal start_time
        start_time += 1
        run_id = str(client.create_run(experiment_id, start_time, run_name=name).info.run_id)
        config = {"name": name, "family": "rnn", "seed": seed, "lr": 0.5, "epoch": 3, "data_sha256": "a"} | params
        points = [Metric(key, value, 0, 0) for key, value in metrics.items()]
        client.log_batch(run_id, points, [Param(key, str(value)) for key, value in config.items()], tags)
        client.set_terminated(run_id, status)
        return run_id

    return add


def test_runs_that_differ_only_in_seed_name_and_kept_epoch_are_one_row(tmp_path: Path, add: AddRun) -> None:
    add("lstm_seed2", 10, {BITS: 2.4})
    add("lstm", 0, {BITS: 2.0}, epoch=4)
    add("lstm", 2, {BITS: 2.2}, epoch=5)
    (row,) = compare_seeds(tmp_path, "timemachine").to_dict("records")
    assert (row["name"], row["num_seeds"], row["seeds"]) == ("lstm", 3, "0 2 10")
    assert row[f"metrics.{BITS}.mean"] == pytest.approx(2.2)
    assert row[f"metrics.{BITS}.std"] == pytest.approx(0.2)


def test_runs_on_other_data_or_with_another_knob_are_other_rows(tmp_path: Path, add: AddRun) -> None:
    for seed in (0, 1):
        add("lstm", seed, {BITS: 2.0})
        add("lstm", seed, {BITS: 1.0}, data_sha256="b")
        add("lstm", seed, {BITS: 3.0}, lr=0.1)
        add("lstm", seed, {BITS: 4.0}, new_knob=True)
    table = compare_seeds(tmp_path, "timemachine")
    assert list(table[f"metrics.{BITS}.mean"]) == [1.0, 2.0, 3.0, 4.0]
    assert list(table.filter(like="params.")) == ["params.data_sha256", "params.lr", "params.new_knob"]


def test_params_are_shown_only_where_rows_have_the_same_name(tmp_path: Path, add: AddRun) -> None:
    for seed, name in enumerate(["lstm", "gru", "lstm", "gru"]):
        add(name, seed, {BITS: 2.0}, cell=name)
    assert not len(compare_seeds(tmp_path, "timemachine").filter(like="params.").columns)


def test_of_runs_with_the_same_params_and_seed_the_newest_counts(tmp_path: Path, add: AddRun) -> None:
    add("lstm", 0, {BITS: 9.0})
    add("lstm", 0, {BITS: 2.0})
    add("lstm_seed1", 1, {BITS: 9.0})
    add("lstm", 1, {BITS: 3.0})
    (row,) = compare_seeds(tmp_path, "timemachine").to_dict("records")
    assert (row["num_seeds"], row[f"metrics.{BITS}.mean"]) == (2, 2.5)


def test_runs_that_are_not_finished_or_not_scored_do_not_count(tmp_path: Path, add: AddRun) -> None:
    for seed in (0, 1):
        add("lstm", seed, {BITS: 2.0})
    add("lstm", 1, {"training/perplexity": 2.0})
    add("lstm", 2, {"training/perplexity": 2.0})
    for seed, status in enumerate(["RUNNING", "FAILED", "KILLED"]):
        add("lstm", seed, {BITS: 9.0}, status)
    (row,) = compare_seeds(tmp_path, "timemachine").to_dict("records")
    assert (row["seeds"], row[f"metrics.{BITS}.mean"]) == ("0 1", 2.0)


def test_a_metric_that_a_seed_lacks_has_no_mean(tmp_path: Path, add: AddRun) -> None:
    add("lstm", 0, {BITS: 2.0, NATS: 7.0})
    add("lstm", 1, {BITS: 2.0})
    table = compare_seeds(tmp_path, "timemachine", metrics=[BITS, NATS])
    assert table.filter(like=NATS).isna().all(axis=None)
    assert as_text(table).splitlines()[-1].split() == ["lstm", "0", "1", "2.0000", "±", "0.0000", "-"]


def test_a_name_selects_the_row_that_contains_it(tmp_path: Path, add: AddRun) -> None:
    for seed in (0, 1):
        add(f"lstm_seed{seed}", seed, {BITS: 2.0})
        add("gru", seed, {BITS: 1.0}, cell="gru")
    table = compare_seeds(tmp_path, "timemachine", names=["lstm_seed1"])
    assert list(table["name"]) == ["lstm_seed0"]


def test_without_two_seeds_of_a_model_there_is_an_error_that_says_how_to_get_them(
    tmp_path: Path, add: AddRun
) -> None:
    add("lstm", 0, {BITS: 2.0}, "RUNNING")
    with pytest.raises(ValueError, match=r"^no rnn model is finished$"):
        compare_seeds(tmp_path, "timemachine")
    add("lstm", 0, {BITS: 2.0})
    add("gru", 1, {BITS: 1.0}, cell="gru")
    add("new", 1, {BITS: 1.0}, "RUNNING")
    with pytest.raises(ValueError, match=r"^no two finished .*`dvc exp run -S train_rnn\.NAME\.seed=1`$"):
        compare_seeds(tmp_path, "timemachine")
    with pytest.raises(ValueError, match=r"^no finished model 'new'; known: gru, lstm$"):
        compare_seeds(tmp_path, "timemachine", names=["new"])


def test_the_text_has_aligned_digits_and_fits_the_terminal(tmp_path: Path, add: AddRun) -> None:
    for seed, score in enumerate([2.0, 2.1, 20.0]):
        cell = "lstm" if seed < 2 else "gru"
        add(cell, seed, dict.fromkeys(DEFAULT_METRICS["rnn"], score), cell=cell)
    text = as_text(compare_seeds(tmp_path, "timemachine"), 80)
    assert max(map(len, text.splitlines())) <= 80
    two, one = text.split("\n\n")[0].splitlines()[-2:]
    assert two.split()[:6] == ["lstm", "0", "1", "2.0500", "±", "0.0707"]
    assert one.split()[:3] == ["gru", "2", "20.000"]
    assert two.index("2.0500") == one.index("20.000")


def test_the_command_prints_csv_with_all_digits(
    tmp_path: Path, add: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    scores = pd.Series([1.1, 2.3, 4.7])
    for seed, score in enumerate(scores):
        add("lstm", seed, {NATS: score})
    done = CliRunner().invoke(app, ["compare", "--over-seeds", "--csv", "--metric", NATS])
    (row,) = pd.read_csv(io.StringIO(done.stdout)).to_dict("records")
    assert list(row) == ["name", "num_seeds", "seeds", f"metrics.{NATS}.mean", f"metrics.{NATS}.std"]
    assert list(row.values()) == ["lstm", 3, "0 1 2", scores.mean(), pytest.approx(scores.std(ddof=1), rel=1e-15)]
