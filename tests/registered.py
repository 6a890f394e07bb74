"""A model in the registry, without a pipeline that publishes it."""

from pathlib import Path

from timemachine.tracking import registry
from timemachine.tracking.registry import Version
from timemachine.tracking.store import Store


def registered(store: Store, checkpoint: Path, folder: Path) -> Version:
    """Make a run with a checkpoint packaged in it, and its version."""
    run_id = store.client.create_run(store.experiment_id, run_name=checkpoint.name).info.run_id
    registry.package(checkpoint, folder / run_id)
    store.client.log_artifacts(run_id, str(folder / run_id), registry.MODEL_FOLDER)
    return registry.ensure_version(store, run_id, checkpoint.name)
