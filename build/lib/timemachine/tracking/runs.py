"""MLflow runs that are found by a hash of their content: of models and of states of the pipeline.

Runs get only the values that they lack.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from timemachine.tracking.environment import user
from timemachine.tracking.live import training_is_live, training_key
from timemachine.tracking.store import Store, local_folder

KEY, TRAINING = "timemachine.key", "timemachine.training"
MINUTES = "minutes"  # metric: duration of the stage, with the start of Python
NOTE = "mlflow.note.content"  # tag: the description


@dataclass(frozen=True)
class RunContent:
    """The content of one MLflow run.

    Attributes:
        path: `family/name` of a model, `pipeline` for a state of the pipeline.
        name: name of the run in MLflow.
        key: hash of the content; there is one run for each key.
        params: params of the run.
        metrics: (name, value, step) of each point.
        artifacts: pairs of a folder in the run and the file that is logged there.
        tags: further tags. A description in them is not written over one that the run has.
        dataset: name and SHA-256 of the data.
    """

    path: str
    name: str
    key: str
    params: Mapping[str, Any]
    metrics: Sequence[tuple[str, float, int]]
    artifacts: Sequence[tuple[str, Path]]
    tags: Mapping[str, str]
    dataset: tuple[str, str] | None = None


def find_runs(store: Store, tag: str, value: str) -> list[Run]:
    """Return the runs of the experiment whose tag has this value, the oldest first."""
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    found: list[Run] = store.client.search_runs([store.experiment_id], f"tags.`{tag}` = '{value}'", order_by=order)
    return found


def find_or_create(store: Store, content: RunContent) -> Run:
    """Return the run with the key of the content, which is created if absent."""
    found = find_runs(store, KEY, content.key)
    if not found:
        tags = {KEY: content.key, "mlflow.user": user(), **content.tags}
        store.client.create_run(store.experiment_id, None, tags, content.name)
        found = find_runs(store, KEY, content.key)
    # Another machine may have created one at the same time; all machines keep the oldest.
    for run in found[1:]:
        store.client.delete_run(run.info.run_id)
    return found[0]


def is_complete(run: Run) -> bool:
    """Return whether a run is finished and, if its artifacts are kept on this machine, has them."""
    folder = local_folder(run.info.artifact_uri)
    return run.info.status == "FINISHED" and (folder is None or folder.is_dir())


def adopt_live_run(store: Store, root: Path, content: RunContent) -> None:
    """Give the key of the content to the run that was logged live by its training, if there is one.

    The points of that run must be among those of the content. Other live runs of the same training are deleted:
    it was interrupted and started again, or its results were restored from DVC's cache.
    """
    key = training_key(content.params)
    if training_is_live(root, key):
        return
    free = [run for run in find_runs(store, TRAINING, key) if KEY not in run.data.tags]
    taken = bool(free and find_runs(store, KEY, content.key))
    for run in free:
        if not taken and _points_of(store, run, content) <= set(content.metrics):
            store.client.set_tag(run.info.run_id, KEY, content.key)
            store.client.update_run(run.info.run_id, status="RUNNING")  # until it is complete
            taken = True
        else:
            store.client.delete_run(run.info.run_id)


def _points_of(store: Store, run: Run, content: RunContent) -> set[tuple[str, float, int]]:
    """Return the points that a run has of the metrics of the content."""
    return {
        (key, point.value, point.step)
        for key in {key for key, _, _ in content.metrics} & set(run.data.metrics)
        for point in store.client.get_metric_history(run.info.run_id, key)
    }


def fill(store: Store, run: Run, content: RunContent, *, complete: bool) -> None:
    """Log the params, points, tags and artifacts that a run lacks, and finish it.

    A complete run gets only what a former version of this package did not log: metrics, description and dataset.
    """
    run_id = run.info.run_id
    metrics, minutes = list(content.metrics), minutes_of(run)
    if minutes is not None and MINUTES not in {*run.data.metrics, *(name for name, _, _ in metrics)}:
        metrics.append((MINUTES, minutes, 0))
    if complete and {name for name, _, _ in metrics} <= set(run.data.metrics) and NOTE in run.data.tags:
        return
    there = {(key, step) for key, _, step in _points_of(store, run, content)}
    # The same time for all points, so that a point that two processes log at once is stored once.
    points = [
        Metric(key, value, run.info.start_time, step) for key, value, step in metrics if (key, step) not in there
    ]
    params = [Param(key, str(value)) for key, value in content.params.items() if key not in run.data.params]
    tags = [
        RunTag(key, value)
        for key, value in content.tags.items()
        if key not in run.data.tags and (key == NOTE or not complete)
    ]
    store.client.log_batch(run_id, points, () if complete else params, tags)
    if content.dataset and not (run.inputs and run.inputs.dataset_inputs):
        log_dataset(store, run_id, *content.dataset)
    if not complete:
        for folder, path in content.artifacts:
            store.client.log_artifact(run_id, str(path), folder)
        store.client.set_terminated(run_id, "FINISHED", run.info.end_time)


def minutes_of(run: Run) -> float | None:
    """Return the minutes of the training of a run; None if they are not known.

    That is the metric, or else the duration of the run if the training logged it live.
    """
    if MINUTES in run.data.metrics:
        return float(run.data.metrics[MINUTES])
    if "timemachine.host" not in run.data.tags or run.info.end_time is None:
        return None
    return round((run.info.end_time - run.info.start_time) / 60_000, 2)


def dataset_of(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and SHA-256 of the data of a training."""
    name = f"text/{config['corpus']}" if config["family"] == "rnn" else "series"
    return name, config["data_sha256"]


def log_dataset(store: Store, run_id: str, name: str, sha256: str) -> None:
    """Log data in the folder `data` as an MLflow input."""
    dataset = Dataset(
        name, sha256[:32], "local", json.dumps({"uri": f"data/{name}"})
    )  # MLflow allows 36 characters
    tag = InputTag("mlflow.data.context", "training")
    store.client.log_inputs(run_id, [DatasetInput(dataset, [tag])])
