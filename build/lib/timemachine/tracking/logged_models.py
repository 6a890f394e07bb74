"""MLflow's logged models: the tab "Models" of the experiment lists them with their scores and their runs.

A logged model has no artifacts of its own: the files of a model are artifacts of its run, and the versions of the
registered model refer to the run.
"""

import math

from mlflow.entities import LoggedModel, LoggedModelStatus, Metric

from timemachine.tracking.runs import KEY, NOTE, RunContent
from timemachine.tracking.store import Store

# The metrics of a run that its logged model gets; the tab has a column for each.
_SCORES = ("val_bits_per_character", "test_bits_per_character", "one_step_rmse", "multistep_rmse")

_ABOUT = "Files and registered versions of the model are on the page of its source run."


def find_logged_models(store: Store, key: str) -> list[LoggedModel]:
    """Return the logged models of the runs with this key, the oldest first."""
    found = store.client.search_logged_models([store.experiment_id], f"tags.`{KEY}` = '{key}'")
    return sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))


def ensure_logged_model(store: Store, run_id: str, content: RunContent) -> None:
    """Create the logged model of a run, with the scores and params of the run, if it is absent or incomplete.

    Args:
        store: an open store.
        run_id: ID of the run, which has its metrics already.
        content: content of the run.
    """
    client = store.client
    found = find_logged_models(store, content.key)
    if all(model.source_run_id != run_id for model in found):
        client.create_logged_model(
            store.experiment_id,
            content.name,
            run_id,
            tags={KEY: content.key, NOTE: f"{content.tags[NOTE]} {_ABOUT}"},
            params={key: str(value) for key, value in content.params.items()},
            model_type=content.params["family"],
        )
        found = find_logged_models(store, content.key)
    # Others are of deleted runs, or another machine has created one at the same time.
    kept, *others = sorted(found, key=lambda model: model.source_run_id != run_id)
    for model in others:
        client.delete_logged_model(model.model_id)
    if kept.status == LoggedModelStatus.READY:
        return
    # With the times of the points in the run, so that the run does not get them twice.
    points = [
        Metric(point.key, point.value, point.timestamp, point.step, kept.model_id)
        for name in sorted({name for name, value, _ in content.metrics if math.isfinite(value)} & set(_SCORES))
        for point in client.get_metric_history(run_id, name)
    ]
    client.log_batch(run_id, points)
    client.finalize_logged_model(kept.model_id, LoggedModelStatus.READY)
