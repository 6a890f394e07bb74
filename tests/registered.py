"""A model in the registry, without a pipeline that publishes it, and the recorded moves of its aliases."""

import json
from pathlib import Path
from typing import Any

from timemachine.tracking import registry
from timemachine.tracking.registry import Version
from timemachine.tracking.store import Store

MOVE = "timemachine.move."


def registered(store: Store, checkpoint: Path, folder: Path) -> Version:
    """Make a run with a checkpoint packaged in it, and its version."""
    run_id = store.client.create_run(store.experiment_id, run_name=checkpoint.name).info.run_id
    registry.package(checkpoint, folder / run_id)
    store.client.log_artifacts(run_id, str(folder / run_id), registry.MODEL_FOLDER)
    return registry.ensure_version(store, run_id, checkpoint.name)


def tags(store: Store, version: Version) -> dict[str, str]:
    return dict(store.client.get_model_version(registry.MODEL_NAME, version.number).tags)


def moves(store: Store, version: Version) -> list[dict[str, Any]]:
    """Return the recorded moves of aliases to a version, and removals from it, the oldest first."""
    return [json.loads(value) for key, value in sorted(tags(store, version).items()) if key.startswith(MOVE)]
