"""The table of models, from a real MLflow store in SQLite; one store, to which the later tests add runs."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from timemachine.pipeline import params
from timemachine.tracking.compare import SHORT_METRICS, as_csv, as_ranking, as_text, best, compare_runs
from timemachine.tracking.publish import publish_state
from timemachine.tracking.seeds import compare_seeds

pytestmark = pytest.mark.slow

DEFAULT = ["val_bits_per_character", "test_bits_per_character", "val_perplexity", "test_perplexity"]


def columns(comparison: pd.DataFrame, start: str) -> list[str]:
    return [name for name in comparison if name.startswith(start)]


@pytest.fixture(scope="module")
def store(finished: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published project; to be read, not changed."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("compare") / "project"))
    shutil.copy(empty_store, root / "mlflow.db")
    publish_state(params.load(root / "params.yaml"), root, root / "data")
    return root


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> tuple[Path, MlflowClient, str]:
    """A copy of the store, its client and its experiment, to add runs to."""
    shutil.copy(store / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path, client, client.get_experiment_by_name("timemachine").experiment_id


def add_run(client: MlflowClient, experiment_id: str, name: str, score: float, status: str) -> str:
    tags = {"timemachine.kind": "model", "timemachine.family": "rnn"}
    run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
    client.log_metric(run_id, "val_bits_per_character", score)
    client.log_param(run_id, "lr", 0.5)
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    return str(run_id)


def test_there_is_a_row_for_each_model_the_best_first_on_the_validation_text(store: Path) -> None:
    comparison = compare_runs(store, "timemachine")
    assert columns(comparison, "metrics.") == [f"metrics.{name}" for name in [*DEFAULT, "training/perplexity"]]
    assert set(comparison["name"]) == {"carried", "windowed", "gated"}
    scores = comparison["metrics.val_bits_per_character"]
    assert scores.is_monotonic_increasing
    assert scores.nunique() == 3


def test_only_params_in_which_the_rows_differ_are_shown(store: Path) -> None:
    shown = set(columns(compare_runs(store, "timemachine"), "params."))
    assert {"params.cell", "params.sampling", "params.lr"} < shown
    assert not shown & {"params.name", "params.family", "params.num_hiddens", "params.seed"}
    two = set(columns(compare_runs(store, "timemachine", names=["carried", "windowed"]), "params."))
    assert "params.sampling" in two
    assert "params.cell" not in two


def test_the_best_value_of_each_metric_is_marked_and_speeds_are_not(store: Path) -> None:
    comparison = compare_runs(store, "timemachine", metrics=["test_perplexity", "training/tokens_per_s"])
    marked = [line for line in as_text(comparison).splitlines() if "*" in line]
    assert len(marked) == 1
    assert marked[0].startswith(comparison["name"][0])
    assert marked[0].count("*") == 1
    assert f"{comparison['metrics.test_perplexity'].min():#.5g}*" in marked[0]


def test_the_digits_of_marked_and_other_values_are_aligned(store: Path) -> None:
    comparison = compare_runs(store, "timemachine", metrics=["test_perplexity", "training/tokens_per_s"])
    lines = as_text(comparison).splitlines()[1:]
    values = comparison["metrics.test_perplexity"].map("{:#.5g}".format)
    ends = {line.index(value) + len(value) for line, value in zip(lines, values, strict=True)}
    assert len(ends) == 1


def test_in_a_terminal_no_line_is_too_long_and_every_table_names_the_runs(store: Path) -> None:
    comparison = compare_runs(store, "timemachine")
    tables = as_text(comparison, 80).split("\n\n")
    assert max(len(line) for table in tables for line in table.splitlines()) <= 80
    assert len(tables) > 1
    for table in tables:
        assert [line.split()[0] for line in table.splitlines()[-3:]] == list(comparison["name"])
    assert "\n\n" not in as_text(comparison)


def test_csv_holds_the_numbers_exactly_and_says_in_what_a_run_is_the_best(store: Path) -> None:
    comparison = compare_runs(store, "timemachine")
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert [row["run_id"] for row in rows] == list(comparison["run_id"])
    for metric in columns(comparison, "metrics."):
        values = [float(row[metric]) for row in rows]
        assert values == list(comparison[metric])
        named = [row["name"] for row in rows if metric.removeprefix("metrics.") in row["best_in"].split()]
        assert named == [row["name"] for row, value in zip(rows, values, strict=True) if value == min(values)]


def test_forecasts_are_ranked_by_their_one_step_error(store: Path) -> None:
    comparison = compare_runs(store, "timemachine", family="ar")
    names = ["one_step_rmse", "multistep_rmse", "k_step_rmse_1", "k_step_rmse_4"]
    assert columns(comparison, "metrics.") == [f"metrics.{name}" for name in names]
    assert comparison["metrics.one_step_rmse"].is_monotonic_increasing


def test_context_mixtures_are_a_family_without_seeds(store: Path) -> None:
    assert set(compare_runs(store, "timemachine", family="context_mixing")["name"]) == {
        "context_mixing",
        "context_mixing_gated",
    }
    with pytest.raises(ValueError, match=r"^context_mixing models have no seed$"):
        compare_seeds(store, "timemachine", family="context_mixing")


def test_runs_of_one_name_are_told_apart_by_id_and_date(copy: tuple[Path, MlflowClient, str]) -> None:
    root, client, experiment_id = copy
    assert "run_id" not in as_text(compare_runs(root, "timemachine"))
    run_id = add_run(client, experiment_id, "gated", 1.0, "FINISHED")
    text = as_text(compare_runs(root, "timemachine", names=["gated"]))
    assert text.splitlines()[-2].split()[:2] == ["gated", run_id[:8]]
    started = pd.Timestamp(client.get_run(run_id).info.start_time, unit="ms")
    assert text.splitlines()[-2].split()[2] == f"{started:%Y-%m-%d}"
    with_counted = as_text(compare_runs(root, "timemachine", family="language", names=["gated", "kneser_ney_2"]))
    assert [line for line in with_counted.splitlines() if re.match(r"kneser_ney_2 +20\d\d-", line)]


def test_a_run_that_is_not_finished_comes_last_and_is_never_the_best(
    copy: tuple[Path, MlflowClient, str],
) -> None:
    root, client, experiment_id = copy
    add_run(client, experiment_id, "growing", 0.5, "RUNNING")
    add_run(client, experiment_id, "broken", 0.1, "FAILED")
    comparison = compare_runs(root, "timemachine")
    assert list(comparison["name"])[-2:] == ["broken", "growing"]
    assert not best(comparison).to_numpy()[-2:].any()
    assert best(comparison).to_numpy()[0].any()
    assert [line.split()[1] for line in as_text(comparison).splitlines()[-2:]] == ["failed", "running"]


def test_the_short_table_ranks_every_language_model_once_in_80_columns_and_names_aliases(
    copy: tuple[Path, MlflowClient, str], store: Path
) -> None:
    root, client, experiment_id = copy
    add_run(client, experiment_id, "a_recipe_with_a_very_long_name_indeed", 0.25, "FINISHED")
    add_run(client, experiment_id, "gated", 0.5, "RUNNING")
    comparison = compare_runs(root, "timemachine", family="language", metrics=SHORT_METRICS["language"])
    report = json.loads((store / "data/reports/language_models.json").read_text())["models"]
    assert set(comparison["name"]) == {*report, "carried", "a_recipe_with_a_very_long_name_indeed"}
    assert not comparison["name"][:-1].duplicated().any()
    counted = comparison[comparison["name"] == "kneser_ney_2"]
    assert list(counted["metrics.test_bits_per_character"]) == [
        report["kneser_ney_2"]["test"]["bits_per_character"]
    ]
    assert counted["run_id"].isna().all()
    lines = as_ranking(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:-1]] == [str(rank + 1) for rank in range(len(comparison) - 1)]
    assert lines[1].split()[1:3] == ["a_recipe_with…g_name_indeed", "0.2500*"]
    assert lines[-1].split()[0] == "-"
    assert "running" in lines[-1]
    challengers = [line for line in lines if "challenger" in line]
    assert len(challengers) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"family": "cnn"}, r"no family 'cnn'; known: language, rnn, context_mixing, ar"),
        ({"names": ["lstn"]}, r"no model 'lstn'; known: carried, gated, windowed"),
        ({"metrics": ["bleu"]}, r"no metric 'bleu'; known: .*test_perplexity.*, training/perplexity"),
    ],
)
def test_what_is_not_known_is_named_with_what_is(store: Path, asked: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        compare_runs(store, "timemachine", **asked)


def test_an_empty_store_is_said_to_be_empty(tmp_path: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with pytest.raises(
        ValueError, match=r"has no rnn models in experiment 'timemachine'; run `timemachine publish`"
    ):
        compare_runs(tmp_path, "timemachine")


@pytest.mark.parametrize("family", ["rnn", "ar"])
def test_mlflows_own_table_has_flat_params_that_all_runs_of_a_family_share(
    store: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    chosen = f"tags.`timemachine.kind` = 'model' and tags.`timemachine.family` = '{family}'"
    frame = mlflow.search_runs(experiment_names=["timemachine"], filter_string=chosen)
    found = frame.filter(regex=r"^params\.")
    assert "params.lr" in found
    assert found.notna().all(axis=None)
    assert not found.map(lambda value: value.startswith("{")).any(axis=None)
    assert list(frame["tags.mlflow.runName"]) == list(frame["params.name"])


def test_the_command_prints_nothing_but_the_table(store: Path) -> None:
    command = [sys.executable, "-m", "timemachine.cli", "compare", "gated", "carried", "--csv", "--metric"]
    done = subprocess.run([*command, "val_nats"], cwd=store, capture_output=True, text=True, check=True)
    read = pd.read_csv(io.StringIO(done.stdout))
    assert list(read["name"]) == ["gated", "carried"]
    assert list(read["best_in"].fillna("")) == ["val_nats", ""]
    assert list(read.filter(like="metrics.")) == ["metrics.val_nats"]
