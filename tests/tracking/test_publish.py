"""Against a real MLflow store in SQLite."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from tiny import run_stage

from timemachine.base.errors import UserError
from timemachine.base.files import write_json
from timemachine.pipeline import params
from timemachine.pipeline.times import TIMES
from timemachine.tracking import registry
from timemachine.tracking.live import SPOOLS
from timemachine.tracking.publish import publish_state
from timemachine.tracking.server import load_alias
from timemachine.tracking.store import open_store

pytestmark = pytest.mark.slow


MODELS = {"linear", "mlp", "carried", "windowed", "gated", "context_mixing", "context_mixing_gated"}
NUM_RUNS = len(MODELS) + 1


def publish_here(root: Path) -> dict[str, Any]:
    return publish_state(params.load(root / "params.yaml"), root, root / "data")


def runs(root: Path) -> dict[str, Run]:
    """The runs by name; the pipeline's as `pipeline`."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("timemachine")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    names = [str(run.info.run_name).split()[0] for run in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def test_a_state_is_one_parent_run_and_one_run_for_each_model(root: Path) -> None:
    publish_here(root)
    found = runs(root)
    assert set(found) == {"pipeline", *MODELS}
    parent = found.pop("pipeline")
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert {run.info.status for run in found.values()} == {"FINISHED"}


def test_a_model_has_its_params_curves_scores_checkpoint_figure_and_text(root: Path) -> None:
    publish_here(root)
    run = runs(root)["windowed"]
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    assert run.data.params["num_hiddens"] == "8"
    scores = json.loads((root / "data/reports/perplexity.json").read_text())["windowed"]
    assert run.data.metrics["test_perplexity"] == scores["test"]["perplexity"]
    history = pd.read_csv(root / "data/models/rnn/windowed/history.csv")
    curve = client.get_metric_history(run.info.run_id, "training/perplexity")
    assert [(point.step, point.value) for point in curve] == list(
        zip(history.epoch, history.perplexity, strict=True)
    )
    artifacts = root / "mlartifacts" / run.info.run_id / "artifacts"
    files = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    checkpoint = {"config.json", "environment.json", "history.csv", "model.safetensors", "vocabulary.json"}
    assert checkpoint == {Path(name).name for name in files if name.startswith("model/data/")}
    assert {"model/MLmodel", "figures/windowed.png", "generated/windowed.txt"} <= files
    assert run.data.tags["DVC_STAGE"] == "train_rnn@windowed"
    assert run.inputs.dataset_inputs[0].dataset.name == "text/whole"


def test_the_parent_has_all_params_headline_metrics_all_reports_the_data_and_a_description(root: Path) -> None:
    write_json(root / TIMES / "train_rnn@gated.json", {"started": "2026-11-26T08:00:00+00:00", "duration_s": 90.0})
    (root / "dvc.lock").write_text("schema: '2.0'\nstages: {train_rnn@gated: {cmd: x}, download: {cmd: y}}\n")
    publish_here(root)
    found = runs(root)
    parent = found["pipeline"]
    assert parent.data.params["train_rnn.carried.num_steps"] == "8"
    ranking = json.loads((root / "data/reports/language_models.json").read_text())
    best = ranking["models"][ranking["best"]]["val"]["bits_per_character"]
    assert parent.data.metrics["language/best_val_bits_per_character"] == best
    assert parent.data.metrics["forecast/mlp_one_step_rmse"] == found["mlp"].data.metrics["one_step_rmse"]
    assert len(parent.data.metrics) < 25
    assert {name.partition("/")[0] for name in parent.data.metrics} == {"language", "forecast", "pipeline"}
    assert parent.data.metrics["pipeline/minutes"] == found["gated"].data.metrics["minutes"] == 1.5
    assert parent.data.tags["timemachine.timed_stages"] == "1 of 2"
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith(f"Best language model: {ranking['best']}, {best:.3f} val")
    assert "1 of 2 stages took 1.5 minutes" in note
    assert len(parent.data.tags["timemachine.data_sha256"]) == 64
    assert parent.data.tags["timemachine.data_sha256"].startswith(parent.inputs.dataset_inputs[0].dataset.digest)
    artifacts = root / "mlartifacts" / parent.info.run_id / "artifacts"
    published = {str(p.relative_to(artifacts)) for p in artifacts.rglob("*") if p.is_file()}
    reports = {str(p.relative_to(root / "data")) for p in (root / "data/reports").rglob("*") if p.is_file()}
    assert published == reports


def logged_models(root: Path) -> list[LoggedModel]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("timemachine")
    return list(client.search_logged_models([experiment.experiment_id]))


def test_each_model_has_one_logged_model_with_its_scores_also_if_its_run_was_deleted(root: Path) -> None:
    publish_here(root)
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    deleted = runs(root)["carried"]
    client.delete_run(deleted.info.run_id)
    # As another machine could have made it at the same time.
    twin = {"timemachine.key": runs(root)["gated"].data.tags["timemachine.key"]}
    client.create_logged_model(deleted.info.experiment_id, "gated", runs(root)["gated"].info.run_id, twin)
    publish_here(root)
    found = runs(root)
    models = logged_models(root)
    assert sorted(model.name for model in models) == sorted(MODELS)
    for model in models:
        run = found[model.name]
        assert (model.source_run_id, model.status) == (run.info.run_id, LoggedModelStatus.READY)
        score = "one_step_rmse" if model.model_type == "ar" else "val_bits_per_character"
        scores = {metric.key: metric.value for metric in model.metrics}
        assert scores[score] == run.data.metrics[score]
        assert len(client.get_metric_history(run.info.run_id, score)) == 1


def everything(root: Path) -> list[str]:
    """All that MLflow's database holds."""
    with sqlite3.connect(root / "mlflow.db") as database:
        return sorted(database.iterdump())


def test_publishing_again_adds_nothing(root: Path) -> None:
    receipt = publish_here(root)
    before = everything(root)
    for _ in range(20):
        assert publish_here(root) == receipt
    assert everything(root) == before


def test_a_context_mixture_has_its_knobs_scores_parts_and_nats_and_says_that_it_has_no_checkpoint(
    root: Path,
) -> None:
    publish_here(root)
    run = runs(root)["context_mixing"]
    report = json.loads((root / "data/reports/language_models.json").read_text())["models"]["context_mixing"]
    assert (run.data.params["lr"], run.data.params["networks"]) == ("0.015", "none")
    assert run.data.metrics["val_bits_per_character"] == report["val"]["bits_per_character"]
    assert run.data.metrics["left_out/words"] > -1
    assert "no checkpoint" in run.data.tags["mlflow.note.content"]
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    assert [file.path for file in client.list_artifacts(run.info.run_id, "scores")] == [
        "scores/context_mixing.safetensors"
    ]


@pytest.mark.parametrize(("knob", "other"), [("lr: 0.015", "lr: 0.02"), ("- gated_dynamic", "- windowed")])
def test_context_mixtures_of_other_params_are_not_published(root: Path, knob: str, other: str) -> None:
    text = (root / "params.yaml").read_text()
    at = text.index(knob, text.index("context_mixing:"))
    (root / "params.yaml").write_text(text[:at] + other + text[at + len(knob) :])
    with pytest.raises(UserError, match=r"not made with the present params\.yaml"):
        publish_here(root)


def test_six_processes_that_fill_one_empty_store_at_once_add_nothing_twice(project: Path) -> None:
    command = [sys.executable, "-m", "timemachine.cli", "publish"]
    started = [subprocess.Popen(command, cwd=project) for _ in range(6)]
    assert [process.wait() for process in started] == [0] * 6
    assert len(runs(project)) == NUM_RUNS
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    assert len(client.search_model_versions("name = 'timemachine-lm'")) == 3
    assert len(logged_models(project)) == len(MODELS)


def ends_of_spools(root: Path) -> list[tuple[str, int]]:
    spools = [spool.read_text().splitlines() for spool in (root / SPOOLS).glob("*.jsonl")]
    return [(json.loads(lines[0])["config"]["name"], json.loads(lines[-1])["ms"]) for lines in spools]


def test_what_a_training_told_of_itself_becomes_the_run_of_its_model(root: Path) -> None:
    assert len(list((root / SPOOLS).glob("*.jsonl"))) == 5
    ended = next(ms for name, ms in ends_of_spools(root) if name == "carried")
    publish_here(root)
    run = runs(root)["carried"]
    assert run.data.tags["timemachine.torch"] == torch.__version__
    assert run.data.tags["mlflow.parentRunId"] == runs(root)["pipeline"].info.run_id
    assert run.data.params["epoch"] == "2"
    assert run.info.end_time == ended
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    for curve in ("training/perplexity", "training/tokens_per_s"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, curve)] == [1, 2]
    assert not list((root / SPOOLS).iterdir())
    assert len(client.search_model_versions(f"run_id = '{run.info.run_id}'")) == 1


def test_what_a_training_told_that_ended_otherwise_makes_way(root: Path) -> None:
    shutil.rmtree(root / SPOOLS)
    run_stage(root, "train_rnn", "carried")
    (spool,) = (root / SPOOLS).glob("*.jsonl")
    lines = [json.loads(line) for line in spool.read_text().splitlines()]
    lines[1]["metrics"]["training/nats"] += 1.0
    spool.write_text("".join(json.dumps(line) + "\n" for line in lines))
    publish_here(root)
    assert len(runs(root)) == NUM_RUNS
    assert "timemachine.host" not in runs(root)["carried"].data.tags


def test_a_damaged_spool_does_not_stop_publishing(root: Path) -> None:
    for number, content in enumerate(("", "{", "[]\n", '{"experiment": "timemachine"}\n', "\0\n")):
        spool = (root / SPOOLS) / f"{number}.jsonl"
        spool.write_text(content)
        spool.with_suffix(".lock").touch()
    publish_here(root)
    assert len(runs(root)) == NUM_RUNS
    assert not list((root / SPOOLS).iterdir())


def test_the_best_language_model_of_a_state_is_the_challenger(root: Path) -> None:
    publish_here(root)
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    assert client.get_registered_model("timemachine-lm").aliases.keys() == {"challenger"}
    scores = json.loads((root / "data/reports/perplexity.json").read_text())
    best = min(("windowed", "gated"), key=lambda name: scores[name]["val"]["bits_per_character"])
    challenger = client.get_model_version_by_alias("timemachine-lm", "challenger")
    assert challenger.run_id == runs(root)[best].info.run_id


def test_a_run_cut_off_half_way_is_filled_up_not_doubled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifact", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            publish_here(root)
    publish_here(root)
    run = runs(root)["linear"]
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "training/loss")] == [1, 2, 3, 4, 5]


def test_a_model_that_two_states_share_has_one_run_and_both_parents_point_to_it(root: Path) -> None:
    first = publish_here(root)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("num_draws: 20", "num_draws: 21"))
    second = publish_here(root)
    assert first["models"] == second["models"]
    assert first["state"] != second["state"]
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("timemachine").experiment_id])
    assert len(found) == NUM_RUNS + 1
    parents = [run for run in found if run.data.tags["timemachine.kind"] == "pipeline"]
    assert len({run.data.tags["timemachine.run.rnn/carried"] for run in parents}) == 1
    assert len({run.data.tags["mlflow.note.content"].partition("Models of")[2] for run in parents}) == 1


def test_a_model_run_that_is_deleted_comes_back_and_the_parent_points_to_it(root: Path) -> None:
    publish_here(root)
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    client.delete_run(runs(root)["carried"].info.run_id)
    publish_here(root)
    found = runs(root)
    assert found["pipeline"].data.tags["timemachine.run.rnn/carried"] == found["carried"].info.run_id
    assert found["carried"].info.run_id in found["pipeline"].data.tags["mlflow.note.content"]


def test_of_runs_that_two_machines_made_at_once_the_oldest_stays(root: Path) -> None:
    publish_here(root)
    (first,) = [run for name, run in runs(root).items() if name == "carried"]
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    key = {"timemachine.key": first.data.tags["timemachine.key"]}
    client.create_run(first.info.experiment_id, first.info.start_time + 5, key, "carried")
    publish_here(root)
    assert len(client.search_runs([first.info.experiment_id])) == NUM_RUNS
    assert runs(root)["carried"].info.run_id == first.info.run_id


def test_a_publication_that_another_machine_gets_in_the_way_of_tries_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch, conflicts = MlflowClient.log_batch, [2]

    def at_first_refused(client: MlflowClient, *arguments: Any, **options: Any) -> Any:
        if conflicts[0]:
            conflicts[0] -= 1
            raise MlflowException("UNIQUE constraint failed (background: https://sqlalche.me/e/21/gkpj)")
        return log_batch(client, *arguments, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", at_first_refused)
    publish_here(root)
    assert len(runs(root)) == NUM_RUNS
    assert {run.info.status for run in runs(root).values()} == {"FINISHED"}


def test_mlflow_can_be_filled_again_from_the_files(root: Path, empty_store: Path) -> None:
    before = publish_here(root)
    shutil.copy(empty_store, root / "mlflow.db")
    shutil.rmtree(root / "mlartifacts")
    assert publish_here(root) == before
    assert len(runs(root)) == NUM_RUNS
    assert len(logged_models(root)) == len(MODELS)


def test_a_metric_of_models_is_not_the_same_for_all(root: Path) -> None:
    publish_here(root)
    for family in ("rnn", "ar"):
        logged = [
            run.data.metrics for run in runs(root).values() if run.data.tags.get("timemachine.family") == family
        ]
        for name in set.intersection(*map(set, logged)):
            assert len({metrics[name] for metrics in logged}) > 1, name


def test_models_and_versions_say_what_they_are_and_versions_since_when_they_have_an_alias(root: Path) -> None:
    publish_here(root)
    run = runs(root)["gated"]
    val, test = (run.data.metrics[f"{part}_bits_per_character"] for part in ("val", "test"))
    scores = f"{val:.3f} val and {test:.3f} test bits per character"
    assert run.data.tags["mlflow.note.content"].endswith(f", seed 0, weights of epoch 2 of 2: {scores}.")
    with open_store(root, "timemachine") as store:
        (found,) = store.client.search_model_versions(f"run_id = '{run.info.run_id}'")
        version = registry.Version(str(found.version), run.info.run_id, "gated")
        registry.move_alias(store, "champion", version, reason="by hand")
        found = store.client.get_model_version("timemachine-lm", version.number)
        assert found.description.startswith(f"gated: {scores}; ")
        assert f"champion since {datetime.now(UTC):%Y-%m-%d}" in found.description
        assert min(found.tags) == "bits_per_character"
        about = store.client.get_registered_model("timemachine-lm").description
        assert f"version {version.number}, gated: {scores}; " in about
        registry.move_alias(store, "champion", None, reason="by hand")
        assert "champion" not in store.client.get_model_version("timemachine-lm", version.number).description


def test_a_moved_repository_says_what_is_missing_and_publishing_finds_it_again(root: Path) -> None:
    publish_here(root)
    experiment = "timemachine"
    with open_store(root, experiment) as store:
        registry.move_alias(store, "champion", registry.aliased(store, "challenger"), reason="the first")
        former = registry.aliased(store, "champion")
    assert former
    before = load_alias(root, experiment, "champion")
    moved = root.rename(root.with_name("moved elsewhere"))
    with pytest.raises(UserError, match=rf"^{root}/mlartifacts/.*: no such folder.* run `timemachine publish`$"):
        load_alias(moved, experiment, "champion")
    assert not root.exists()
    publish_here(moved)
    after = load_alias(moved, experiment, "champion")
    assert after.module.state_dict().keys() == before.module.state_dict().keys()
    with open_store(moved, experiment) as store:
        assert registry.aliased(store, "champion") == former
    assert len(runs(moved)) == NUM_RUNS
    assert str(root) not in "".join(everything(moved)).replace(str(moved), "")
    assert not root.exists()
    # A copy without the artifacts gets those of the present state. MLflow remembers addresses within a process.
    shutil.rmtree(moved / "mlartifacts")
    subprocess.run([sys.executable, "-m", "timemachine.cli", "publish"], cwd=moved, check=True)
    artifacts = moved / "mlartifacts" / former.run_id / "artifacts"
    assert (artifacts / "model/data/checkpoint/model.safetensors").is_file()
    assert list((artifacts / "figures").iterdir())
    assert not root.exists()


def test_the_store_is_in_the_root_whatever_the_working_directory(root: Path, tmp_path: Path) -> None:
    run_stage(root, "publish")
    assert len(runs(root)) == NUM_RUNS
    assert sorted((root / "mlartifacts").iterdir())
    assert "run_id" not in (root / "data/published.json").read_text()


def test_another_store_can_be_named(root: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = root / "elsewhere"
    other.mkdir()
    shutil.copy(empty_store, other / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'mlflow.db'}")
    publish_here(root)
    assert len(runs(other)) == NUM_RUNS


@pytest.mark.parametrize("user", ["", "ann:secret@", "ann:secret/secret@", "ann:secret@secret@"])
def test_a_store_that_cannot_be_reached_is_an_error_of_one_line(
    user: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{user}127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SystemExit, match=r"^publish: error: MLflow at http://127\.0\.0\.1:9: ") as ended:
        run_stage(root, "publish")
    assert "secret" not in str(ended.value)
    assert not (root / "data/published.json").exists()


def test_params_that_the_models_were_not_trained_with_are_refused(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("num_hiddens: 8", "num_hiddens: 9", 1))
    with pytest.raises(ValueError, match=r"data/models/rnn/carried: not trained with the present params\.yaml"):
        publish_here(root)


@pytest.mark.parametrize("module", ["publish", "compare", "sender"])
def test_nothing_is_reported_home(module: str) -> None:
    code = f"import timemachine.tracking.{module}, mlflow.telemetry.client as client\n"
    code += "raise SystemExit(client.get_telemetry_client() is not None)"
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_missing_report_is_named(root: Path) -> None:
    (root / "data/reports/perplexity.json").unlink()
    with pytest.raises(ValueError, match=r"perplexity\.json: no such file"):
        publish_here(root)
