"""Log the files of the pipeline to MLflow.

There is one parent run for each state of the pipeline, with a child run for each trained model. Each language
model is also a version of the registered model. Runs are found by a hash of their content, so publishing is
idempotent, and publishing into an empty store restores everything. A run that was logged live by a training
becomes the run of its model.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Run, RunTag

from timemachine.base.errors import UserError
from timemachine.pipeline.params import Params
from timemachine.pipeline.times import read_times
from timemachine.tracking import registry
from timemachine.tracking.contents import mixing_runs, model_runs, state_run
from timemachine.tracking.logged_models import ensure_logged_model
from timemachine.tracking.registry import Version
from timemachine.tracking.runs import (
    RunContent,
    adopt_live_run,
    fill,
    find_or_create,
    is_complete,
)
from timemachine.tracking.sender import send_waiting
from timemachine.tracking.store import ConflictError, Store, open_store
from timemachine.tracking.views import VIEWS, lay_down, view_address

_VIEWS, _MODELS = "Views:", "Models of this state:"
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
        times = read_times(data.parent)
        models = [*model_runs(params, data, times), *mixing_runs(params, data, times)]
        state = state_run(params, data, models, times)
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
        experiments = lay_down(store, root, params.publish.experiment)
        parent = find_or_create(store, state)
        complete = is_complete(parent)
        run_ids = dict[str, str]()
        for model in models:
            show(len(run_ids), len(models) + 1, f"runs, {model.path}")
            run_ids[model.path] = _publish_model(store, root, model, parent.info.run_id, data)
        show(len(run_ids), len(models) + 1, "runs, versions and the state")
        versions = {
            model.path: registry.ensure_version(store, run_ids[model.path], model.name)
            for model in models
            if model.params["family"] == "rnn"
        }
        _name_challenger(store, params, models, versions)
        registry.describe(store)
        _point_to(store, parent, state, run_ids, experiments)
        fill(store, parent, state, complete=complete)
    show(len(models) + 1, len(models) + 1, "runs")


def _publish_model(store: Store, root: Path, model: RunContent, parent_id: str, data: Path) -> str:
    """Log the run of a model, with the MLflow model folder if it is a language model, and return its ID.

    The run also gets a logged model, which MLflow lists in the tab "Models".
    """
    adopt_live_run(store, root, model)
    run = find_or_create(store, model)
    complete = is_complete(run)
    if not complete:
        store.client.set_tag(run.info.run_id, "mlflow.parentRunId", parent_id)
        if model.params["family"] == "rnn":
            with tempfile.TemporaryDirectory() as folder:
                registry.package(data / "models" / model.path, Path(folder) / "model")
                store.client.log_artifacts(run.info.run_id, str(Path(folder) / "model"), registry.MODEL_FOLDER)
    fill(store, run, model, complete=complete)
    ensure_logged_model(store, run.info.run_id, model)
    return str(run.info.run_id)


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


def _point_to(
    store: Store, parent: Run, state: RunContent, run_ids: Mapping[str, str], experiments: Mapping[str, str]
) -> None:
    """Link the views and the runs of all models from their parent, also runs that an earlier parent created."""
    about = parent.data.tags.get("mlflow.note.content", "").partition(_VIEWS)[0].partition(_MODELS)[0].strip()
    views = [f"[{VIEWS[key].name}]({view_address('', number, key)[1:]})" for key, number in experiments.items()]
    page = f"#/experiments/{store.experiment_id}/runs"
    links = [f"- [{path}]({page}/{run_id})" for path, run_id in run_ids.items()]
    about = about or state.tags["mlflow.note.content"]
    note = RunTag(
        "mlflow.note.content", "\n".join([about, "", f"{_VIEWS} {', '.join(views)}", "", _MODELS, *links])
    )
    tags = [RunTag(f"timemachine.run.{path}", run_id) for path, run_id in run_ids.items()]
    store.client.log_batch(parent.info.run_id, tags=[note, *tags])
