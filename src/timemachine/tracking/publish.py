"""Fill MLflow from the files that the pipeline wrote.

One run per trained model below one parent run per pipeline state. A run is found again by a key made from
the content it shows, so publishing the same state again adds nothing, and publishing into an empty store
brings everything back.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from timemachine.files import read_json, sha256_of
from timemachine.params import Params, Section
from timemachine.tracking.environment import git_tags
from timemachine.tracking.store import open_store
from timemachine.training.history import read_history

T = TypeVar("T")

_KEY = "timemachine.key"
_CHECKPOINT = ("model.safetensors", "config.json", "history.csv")
# The most that MLflow takes in one request.
_MOST_PARAMS, _MOST_METRICS = 100, 1000


@dataclass(frozen=True)
class RunContent:
    """What one MLflow run shows.

    Attributes:
        path: family and name of a model, `pipeline` for a state.
        name: shown in MLflow.
        key: hash of what the run shows; equal content has one run.
        params: logged once.
        metrics: (name, value, step).
        artifacts: folder in the run, and the file that goes there.
        tags: anything else.
    """

    path: str
    name: str
    key: str
    params: Mapping[str, Any]
    metrics: Sequence[tuple[str, float, int]]
    artifacts: Sequence[tuple[str, Path]]
    tags: Mapping[str, str] = field(default_factory=dict)


def publish(params: Params, root: Path, data: Path) -> dict[str, Any]:
    """Publish the state of the pipeline and return its receipt: the keys of its runs.

    Args:
        params: all parameters.
        root: the repository root, where the default store lies.
        data: the folder `data`, with `models`, `generated` and `reports`.

    Raises:
        ValueError: a file of the pipeline is absent, damaged or of other params, or the store cannot be reached.
    """
    models = [*_ar_runs(params, data), *_rnn_runs(params, data)]
    state = _state_run(params, root, data, models)
    with open_store(root, params.publish.experiment) as store:
        client, experiment_id = store.client, store.experiment_id
        parent_id, finished = _find_or_create(client, experiment_id, state, {})
        run_ids = {}
        for model in models:
            run_id, done = _find_or_create(client, experiment_id, model, {"mlflow.parentRunId": parent_id})
            if not done:
                _fill(client, run_id, model)
            run_ids[model.path] = run_id
        if not finished:
            _point_to(client, experiment_id, parent_id, run_ids)
            _fill(client, parent_id, state)
    return {"state": state.key, "models": {model.path: model.key for model in models}}


def _ar_runs(params: Params, data: Path) -> Iterator[RunContent]:
    scores = read_json(data / "reports/forecast.json")
    for name, recipe in params.train_ar.items():
        figure = data / f"reports/figures/forecast/k_step_{name}.png"
        yield _model_run("ar", name, recipe, data, scores.get(name), [("figures", figure)])


def _rnn_runs(params: Params, data: Path) -> Iterator[RunContent]:
    scores = read_json(data / "reports/perplexity.json")
    for name, recipe in params.train_rnn.items():
        artifacts = [
            ("figures", data / f"reports/figures/training/{name}.png"),
            ("generated", data / f"generated/{name}.txt"),
        ]
        yield _model_run("rnn", name, recipe, data, scores.get(name), artifacts)


def _model_run(
    family: str,
    name: str,
    recipe: Section,
    data: Path,
    scores: Mapping[str, Any] | None,
    artifacts: Sequence[tuple[str, Path]],
) -> RunContent:
    """Return the run of one model: its config, curves, scores, checkpoint, figure and text.

    Raises:
        ValueError: the model was not trained by this recipe, or is not in the report.
    """
    folder = data / "models" / family / name
    config = read_json(folder / "config.json")
    if scores is None or any(config.get(key) != value for key, value in recipe.model_dump().items()):
        raise ValueError(f"{folder}: not what params.yaml describes now; run `dvc repro` first")
    checkpoint = [folder / file for file in _CHECKPOINT]
    files = [*checkpoint, *(path for _, path in artifacts)]
    return RunContent(
        path=f"{family}/{name}",
        name=name,
        key=_key_of([name, scores, [_hash(path) for path in files]]),
        params=config,
        metrics=[*_curves(read_history(folder / "history.csv")), *_scalars(scores, "_")],
        artifacts=[*(("checkpoint", path) for path in checkpoint), *artifacts],
        tags={"timemachine.kind": "model", "timemachine.family": family},
    )


def _state_run(params: Params, root: Path, data: Path, models: Sequence[RunContent]) -> RunContent:
    """Return the parent run: all params, all metrics, all reports and figures, commit and data hash."""
    files = sorted(path for path in (data / "reports").rglob("*") if path.is_file())
    flat = _flatten(params.model_dump())
    reports = {path.stem: read_json(path) for path in files if path.suffix == ".json"}
    relative = {str(path.relative_to(data)): _hash(path) for path in files}
    key = _key_of([flat, relative, [model.key for model in models]])
    tags = {
        "timemachine.kind": "pipeline",
        "timemachine.data_sha256": str(reports.get("text", {}).get("sha256", "")),
        "mlflow.source.name": "timemachine publish",
        **git_tags(root),
    }
    artifacts = [(str(path.parent.relative_to(data)), path) for path in files]
    return RunContent("pipeline", f"pipeline {key[:8]}", key, flat, list(_scalars(reports)), artifacts, tags)


def _find_or_create(
    client: MlflowClient, experiment_id: str, content: RunContent, tags: Mapping[str, str]
) -> tuple[str, bool]:
    """Return the id of the run with the content's key, and whether it is finished."""
    found = client.search_runs([experiment_id], f"tags.`{_KEY}` = '{content.key}'", max_results=1)
    if found:
        return found[0].info.run_id, found[0].info.status == "FINISHED"
    run = client.create_run(experiment_id, run_name=content.name, tags={_KEY: content.key, **content.tags, **tags})
    return run.info.run_id, False


def _point_to(client: MlflowClient, experiment_id: str, parent_id: str, run_ids: Mapping[str, str]) -> None:
    """Let a parent name the runs of all its models, those too that an older parent made."""
    for path, run_id in run_ids.items():
        client.set_tag(parent_id, f"timemachine.run.{path}", run_id)
    links = [f"- [{path}](#/experiments/{experiment_id}/runs/{run_id})" for path, run_id in run_ids.items()]
    client.set_tag(parent_id, "mlflow.note.content", "\n".join(["Models of this state:", *links]))


def _fill(client: MlflowClient, run_id: str, content: RunContent) -> None:
    """Log everything and finish the run; a run that was cut off half-way is filled up, not doubled."""
    # One time stamp for all points of a run: logging a point again is then no new point.
    timestamp = client.get_run(run_id).info.start_time
    for some in _chunks([Param(key, str(value)) for key, value in content.params.items()], _MOST_PARAMS):
        client.log_batch(run_id, params=some)
    points = [Metric(key, value, timestamp, step) for key, value, step in content.metrics]
    for points_chunk in _chunks(points, _MOST_METRICS):
        client.log_batch(run_id, metrics=points_chunk)
    for folder, path in content.artifacts:
        client.log_artifact(run_id, str(path), folder)
    client.set_terminated(run_id, "FINISHED")


def _curves(history: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, float, int]]:
    """Yield every column of a history as a curve over epochs."""
    for row in history:
        for column, value in row.items():
            if column != "epoch":
                yield f"training/{column}", value, int(row["epoch"])


def _scalars(content: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, float, int]]:
    """Yield the numbers of a report under the names of their keys."""
    for key, value in _flatten(content, separator).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key, float(value), 0


def _flatten(content: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by the separator; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, separator, f"{prefix}{key}{separator}")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; `dvc repro` makes it") from None


def _key_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
