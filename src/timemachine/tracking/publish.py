"""Log the files of the pipeline to MLflow.

There is one parent run for each state of the pipeline, with a child run for each trained model. Each language
model is also a version of the registered model. Runs are found by a hash of their content, so publishing is
idempotent, and publishing into an empty store restores everything. A run that was logged live by a training
becomes the run of its model.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import RunTag

from timemachine.base.errors import UserError
from timemachine.base.files import read_mapping, sha256_of
from timemachine.language.comparison.config import CONTEXT_MIXING
from timemachine.language.training.history import read_history
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import CHECKPOINT, LANGUAGE_MODEL
from timemachine.tracking import registry
from timemachine.tracking.environment import git_tags
from timemachine.tracking.live import training_key
from timemachine.tracking.registry import Version
from timemachine.tracking.runs import TRAINING, RunContent, adopt_live_run, fill, find_or_create
from timemachine.tracking.sender import send_waiting
from timemachine.tracking.store import ConflictError, Store, open_store

_NO_CHECKPOINT = "There is no checkpoint: the model counts the text anew in seconds."
_WRITES = " `timemachine generate PREFIX --model context_mixing` writes with it."
# Machines that publish the same state at the same time may conflict once or twice.
_TRIES = 4


def publish_state(
    params: Params, root: Path, data: Path, show: Callable[[int, int, str], object] = lambda *_: None
) -> dict[str, Any]:
    """Publish the state of the pipeline and return the keys of its runs.

    Args:
        params: all parameters.
        root: the repository root, which contains the default store.
        data: the folder `data` with `models`, `generated`, `scores` and `reports`.
        show: reports progress: runs logged, their number, and the present one.

    Raises:
        UserError: a file is absent, damaged or made with other params, or the store cannot be reached.
    """
    try:
        models = [*_model_runs(params, data), *_mixing_runs(params, data)]
        state = _state_run(params, data, models)
        for _, path in (artifact for model in models for artifact in model.artifacts):
            path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; run `dvc repro`") from None
    for tries_left in reversed(range(_TRIES)):
        try:
            _add_what_is_missing(params, root, data, state, models, show)
            break
        except ConflictError:
            if not tries_left:
                raise
    return {"state": state.key, "models": {model.path: model.key for model in models}}


def _add_what_is_missing(
    params: Params,
    root: Path,
    data: Path,
    state: RunContent,
    models: Sequence[RunContent],
    show: Callable[[int, int, str], object],
) -> None:
    show(0, len(models) + 1, "runs, opening the store")
    with open_store(root, params.publish.experiment) as store:
        send_waiting(store, root, params.publish.experiment)
        parent_id, finished = find_or_create(store, state)
        run_ids = dict[str, str]()
        for model in models:
            show(len(run_ids), len(models) + 1, f"runs, {model.path}")
            run_ids[model.path] = _publish_model(store, root, model, parent_id, data)
        show(len(run_ids), len(models) + 1, "runs, versions and the state")
        versions = {
            model.path: registry.ensure_version(store, run_ids[model.path], model.name)
            for model in models
            if model.params["family"] == "rnn"
        }
        _name_challenger(store, params, models, versions)
        _point_to(store, parent_id, run_ids)
        if not finished:
            fill(store, parent_id, state)
    show(len(models) + 1, len(models) + 1, "runs")


def _publish_model(store: Store, root: Path, model: RunContent, parent_id: str, data: Path) -> str:
    """Log the run of a model, with the MLflow model folder if it is a language model, and return its ID."""
    adopt_live_run(store, root, model)
    run_id, finished = find_or_create(store, model)
    if not finished:
        store.client.set_tag(run_id, "mlflow.parentRunId", parent_id)
        if model.params["family"] == "rnn":
            with tempfile.TemporaryDirectory() as folder:
                registry.package(data / "models" / model.path, Path(folder) / "model")
                store.client.log_artifacts(run_id, str(Path(folder) / "model"), registry.MODEL_FOLDER)
        fill(store, run_id, model)
    return run_id


def _name_challenger(
    store: Store, params: Params, models: Sequence[RunContent], versions: Mapping[str, Version]
) -> None:
    """Move the alias `challenger` to the recurrent model with the best score on the validation part.

    Models of the corpus `compare_models.corpus` are considered. The test part is not used.
    """
    val_bits = {
        model.path: value
        for model in models
        for name, value, _ in model.metrics
        if model.path in versions
        and name == "val_bits_per_character"
        and model.params["corpus"] == params.compare_models.corpus
    }
    if not val_bits:
        return
    best = min(val_bits, key=val_bits.__getitem__)
    former = registry.aliased(store, "challenger")
    before = store.client.get_run(former.run_id).data.metrics if former else {}
    scores = {"from": before.get("val_bits_per_character"), "to": val_bits[best]}
    reason = "best on the validation part"
    registry.move_alias(store, "challenger", versions[best], reason=reason, scores=scores)


def _model_runs(params: Params, data: Path) -> Iterator[RunContent]:
    """Yield the content of the run of each model: config, curves, scores, checkpoint, figure and generated text.

    Raises:
        UserError: a model was not trained with its recipe, or is not in the report.
    """
    figures = data / "reports/figures"
    for family, report, recipes in (("ar", "forecast", params.train_ar), ("rnn", "perplexity", params.train_rnn)):
        scores = read_mapping(data / f"reports/{report}.json")
        for name, recipe in recipes.items():
            folder, text = data / "models" / family / name, data / f"generated/{name}.txt"
            config = read_mapping(folder / "config.json")
            if scores.get(name) is None or any(
                config.get(key) != value for key, value in recipe.model_dump().items()
            ):
                raise UserError(f"{folder}: not trained with the present params.yaml; run `dvc repro` first")
            # The key of the run is a hash of `files`. Figures are drawn from them.
            if family == "ar":
                files = [folder / file for file in CHECKPOINT]
                figure = figures / f"forecast/k_step_{name}.png"
                artifacts = [*(("checkpoint", path) for path in files), ("figures", figure)]
            else:  # the checkpoint is in the MLflow model folder
                files = [*(folder / file for file in LANGUAGE_MODEL), text]
                artifacts = [("figures", figures / f"training/{name}.png"), ("generated", text)]
            curves = [
                (f"training/{column}", value, int(row["epoch"]))
                for row in read_history(folder / "history.csv")
                for column, value in row.items()
                if column != "epoch"
            ]
            machine = read_mapping(folder / "environment.json")
            yield RunContent(
                path=f"{family}/{name}",
                name=name,
                key=_key_of([family, name, scores[name], [sha256_of(path) for path in files]]),
                params=config,
                metrics=[*curves, *_scalars(scores[name], "_")],
                artifacts=artifacts,
                tags={
                    "timemachine.kind": "model",
                    "timemachine.family": family,
                    "timemachine.data_sha256": config["data_sha256"],
                    TRAINING: training_key(config),
                    "DVC_STAGE": f"train_{family}@{name}",
                    "mlflow.source.name": f"train_{family}@{name}",
                    **{f"timemachine.{key}": str(value) for key, value in machine.items()},
                },
            )


def _mixing_runs(params: Params, data: Path) -> Iterator[RunContent]:
    """Yield the content of the run of each context mixture: knobs, scores, nats and distributions of each token.

    Raises:
        UserError: the reports were made with other params.
    """
    p = params.context_mixing
    ranking, parts = (read_mapping(data / f"reports/{name}.json") for name in ("language_models", CONTEXT_MIXING))
    if (parts.get("params"), ranking.get("networks")) != (p.model_dump(), params.context_mixing_networks):
        raise UserError(f"{data / 'reports'}: not made with the present params.yaml; run `dvc repro` first")
    for name, networks in {CONTEXT_MIXING: [], **params.context_mixing_networks}.items():
        report, folder, stage = data / "reports/context_mixing.json", data / "scores", CONTEXT_MIXING
        if networks:
            folder, stage = folder / CONTEXT_MIXING, f"{CONTEXT_MIXING}_networks"
        path = folder / f"{name}.safetensors"
        metrics = _flatten(ranking["models"][name], "_")
        if not networks:
            metrics |= {f"left_out/{part}": row["more"] for part, row in parts["left_out"].items()}
        knobs = _flatten(p.model_dump()) | {"networks": " ".join(networks) or "none"}
        yield RunContent(
            path=f"{CONTEXT_MIXING}/{name}",
            name=name,
            key=_key_of([name, knobs, metrics, sha256_of(path)]),
            params={"family": CONTEXT_MIXING, "corpus": params.compare_models.corpus, **knobs},
            metrics=list(_scalars(metrics)),
            artifacts=[("scores", path), *([] if networks else [("reports", report)])],
            tags={
                "timemachine.kind": "model",
                "timemachine.family": CONTEXT_MIXING,
                "DVC_STAGE": stage,
                "mlflow.source.name": stage,
                "mlflow.note.content": _NO_CHECKPOINT + ("" if networks else _WRITES),
            },
        )


def _state_run(params: Params, data: Path, models: Sequence[RunContent]) -> RunContent:
    """Return the content of the parent run: all params, metrics, reports, figures, the commit, the data hash."""
    files = sorted(path for path in (data / "reports").rglob("*") if path.is_file())
    flat = _flatten(params.model_dump())
    # The summary repeats numbers of the other reports.
    reports = {p.stem: read_mapping(p) for p in files if p.suffix == ".json" and p.stem != "summary"}
    relative = {str(path.relative_to(data)): sha256_of(path) for path in files}
    key = _key_of([flat, relative, [model.key for model in models]])
    tags = {
        "timemachine.kind": "pipeline",
        "timemachine.data_sha256": str(reports.get("text", {}).get("sha256", "")),
        "mlflow.source.name": "timemachine publish",
        **git_tags(data.parent),
    }
    artifacts = [(str(path.parent.relative_to(data)), path) for path in files]
    return RunContent("pipeline", f"pipeline {key[:8]}", key, flat, list(_scalars(reports)), artifacts, tags)


def _point_to(store: Store, parent_id: str, run_ids: Mapping[str, str]) -> None:
    """Link the runs of all models from their parent, also runs that an earlier parent created."""
    page = f"#/experiments/{store.experiment_id}/runs"
    links = [f"- [{path}]({page}/{run_id})" for path, run_id in run_ids.items()]
    note = RunTag("mlflow.note.content", "\n".join(["Models of this state:", *links]))
    tags = [RunTag(f"timemachine.run.{path}", run_id) for path, run_id in run_ids.items()]
    store.client.log_batch(parent_id, tags=[note, *tags])


def _scalars(content: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, float, int]]:
    """Yield the numbers in a report, named by their keys."""
    for key, value in _flatten(content, separator).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key, float(value), 0


def _flatten(content: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return nested mappings as one mapping with joined keys; lists are values."""
    (flat,) = pd.json_normalize(dict(content), sep=separator).to_dict("records")
    return {str(key): value for key, value in flat.items()}


def _key_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
