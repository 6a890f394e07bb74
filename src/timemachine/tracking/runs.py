"""Runs in MLflow that are found again by what they show, and get only what they lack."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from timemachine.tracking.live import training_is_live, training_key
from timemachine.tracking.store import Store

T = TypeVar("T")

KEY, TRAINING = "timemachine.key", "timemachine.training"
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
        metrics: (name, value, step), each once.
        artifacts: folder in the run, and the file or folder whose content goes there.
        tags: anything else.
    """

    path: str
    name: str
    key: str
    params: Mapping[str, Any]
    metrics: Sequence[tuple[str, float, int]]
    artifacts: Sequence[tuple[str, Path]]
    tags: Mapping[str, str] = field(default_factory=dict)


def find(store: Store, tag: str, value: str) -> list[Run]:
    """Return the runs of the experiment that have a tag, the oldest first."""
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    found: list[Run] = store.client.search_runs([store.experiment_id], f"tags.`{tag}` = '{value}'", order_by=order)
    return found


def find_or_create(store: Store, content: RunContent, tags: Mapping[str, str]) -> tuple[str, bool]:
    """Return the id of the run with the content's key, and whether it has everything."""
    found = find(store, KEY, content.key)
    if not found:
        tags = {KEY: content.key, **content.tags, **tags}
        store.client.create_run(store.experiment_id, run_name=content.name, tags=tags)
        found = find(store, KEY, content.key)
    # Other machines may have done the same at the same time; all of them keep the oldest.
    for run in found[1:]:
        store.client.delete_run(run.info.run_id)
    return found[0].info.run_id, found[0].info.status == "FINISHED"


def adopt_live_run(store: Store, root: Path, content: RunContent) -> None:
    """Give the content's key to the run that a training has told of while it went on, if there is one.

    What such a run shows must be what the training wrote in the end. Other runs of the same training, which
    was cut off and begun again or restored from DVC's cache after all, make way.
    """
    key = training_key(content.params)
    if training_is_live(root, key):
        return
    free = [run for run in find(store, TRAINING, key) if KEY not in run.data.tags]
    taken = bool(free and find(store, KEY, content.key))
    for run in free:
        if not taken and _agrees(store, run, content):
            store.client.set_tag(run.info.run_id, KEY, content.key)
            store.client.update_run(run.info.run_id, status="RUNNING")  # until it has the rest
            taken = True
        else:
            store.client.delete_run(run.info.run_id)


def _agrees(store: Store, run: Run, content: RunContent) -> bool:
    """Return whether all points of a run's curves are points of the content."""
    wanted = {(key, step): value for key, value, step in content.metrics}
    keys = {key for key, _ in wanted} & set(run.data.metrics)
    return all(
        wanted.get((key, point.step)) == point.value
        for key in keys
        for point in store.client.get_metric_history(run.info.run_id, key)
    )


def fill(store: Store, run_id: str, content: RunContent) -> None:
    """Log what a run lacks, and finish it; a run that was cut off half-way is filled up, not doubled."""
    run = store.client.get_run(run_id)
    lacking = {key: str(value) for key, value in content.params.items() if key not in run.data.params}
    for chunk in _chunks([Param(key, value) for key, value in lacking.items()], _MOST_PARAMS):
        store.client.log_batch(run_id, params=chunk)
    there = {
        (key, point.step)
        for key in {key for key, _, _ in content.metrics} & set(run.data.metrics)
        for point in store.client.get_metric_history(run_id, key)
    }
    # One time stamp for all: a point that two processes log at once is then one point.
    points = [
        Metric(key, value, run.info.start_time, step)
        for key, value, step in content.metrics
        if (key, step) not in there
    ]
    log_points(store, run_id, points)
    if TRAINING in content.tags and not (run.inputs and run.inputs.dataset_inputs):
        log_dataset(store, run_id, content.params)
    tags = [RunTag(key, value) for key, value in content.tags.items() if key not in run.data.tags]
    store.client.log_batch(run_id, tags=tags)
    for folder, path in content.artifacts:
        log = store.client.log_artifacts if path.is_dir() else store.client.log_artifact
        log(run_id, str(path), folder)
    store.client.set_terminated(run_id, "FINISHED", run.info.end_time)


def log_points(store: Store, run_id: str, points: Sequence[Metric]) -> None:
    """Log points of curves, as many in one request as MLflow takes."""
    for chunk in _chunks(points, _MOST_METRICS):
        store.client.log_batch(run_id, metrics=chunk)


def log_dataset(store: Store, run_id: str, config: Mapping[str, Any]) -> None:
    """Name the data that a training read as an MLflow input."""
    name = f"text/{config['corpus']}" if config["family"] == "rnn" else "series"
    digest = config["data_sha256"][:32]  # MLflow takes 36 characters
    dataset = Dataset(name, digest, "local", json.dumps({"uri": f"data/{name}"}))
    tag = InputTag("mlflow.data.context", "training")
    store.client.log_inputs(run_id, [DatasetInput(dataset, [tag])])


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
