"""What old rounds of retraining have left in MLflow: versions, runs of models and states, and their artifacts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from timemachine.base.errors import UserError
from timemachine.pipeline.paths import PACKAGED
from timemachine.tracking.logged_models import find_logged_models
from timemachine.tracking.registry import MODEL_FOLDER, MODEL_NAME
from timemachine.tracking.runs import KEY, find_runs
from timemachine.tracking.store import Store
from timemachine.tracking.verdicts import KIND, ROLLED_BACK

# A deleted run whose artifacts are to be removed.
_CLEANED = "timemachine.cleaned"
_MODEL, _PARENT = "timemachine.run.", "mlflow.parentRunId"


@dataclass(frozen=True)
class StoreLeftovers:
    """What old rounds have left, and what stays.

    Attributes:
        kept: the run IDs of the versions that stay, by version number.
        aliased: the numbers of those that an alias names.
        versions: the numbers of the versions to remove.
        runs: the runs to remove, those of models first.
        parents: the new parents of runs that stay but whose parent goes, by run ID.
    """

    kept: dict[str, str]
    aliased: frozenset[str]
    versions: list[str]
    runs: list[Run]
    parents: dict[str, str]


def store_leftovers(
    store: Store, rounds: Sequence[tuple[str, str, str]], keep: int, published: str | None
) -> StoreLeftovers:
    """Find what only old rounds need.

    A version stays if it has an alias, if it was the challenger of one of the last rounds, or if it was rolled
    back: its mark keeps later rounds from promoting it again. The states in which a version was trained and
    promoted stay with it. Of the other states those go that a round has judged, with the runs of models that no
    other state has. States that were published without a round stay.

    Args:
        store: the store, open with the experiment of the models.
        rounds: verdict, version, and key of the state, of each round, the oldest first.
        keep: number of the last rounds to keep.
        published: key of the state that was published last.
    """
    client = store.client
    last = rounds[len(rounds) - min(keep, len(rounds)) :]
    models = client.search_registered_models(f"name = '{MODEL_NAME}'")
    aliased = frozenset(map(str, models[0].aliases.values())) if models else frozenset[str]()
    versions = client.search_model_versions(f"name = '{MODEL_NAME}'") if models else []
    numbers = aliased | {version for _, version, _ in last}
    kept = {
        str(one.version): str(one.run_id)
        for one in versions
        if str(one.version) in numbers or ROLLED_BACK in one.tags
    }
    states: set[str | None] = {
        state for verdict, version, state in rounds if verdict == "promoted" and version in kept
    }
    states |= {state for _, _, state in last} | {published}
    judged = {state for _, _, state in rounds if state} - states

    runs, pipelines = (
        {run.info.run_id: run for run in find_runs(store, KIND, kind)} for kind in ("model", "pipeline")
    )
    first = {runs[run_id].data.tags.get(_PARENT) for run_id in kept.values() if run_id in runs}
    old = {
        run_id: run
        for run_id, run in pipelines.items()
        if run.data.tags.get(KEY) in judged and run_id not in first
    }
    # Of each model in a state that stays, the oldest such state.
    parents = {
        model: run_id for run_id, run in reversed(pipelines.items()) if run_id not in old for model in _models(run)
    }
    gone = {model for run in old.values() for model in _models(run)} - parents.keys() - set(kept.values())
    return StoreLeftovers(
        kept,
        aliased,
        [str(one.version) for one in versions if one.run_id in gone],
        [*(run for run_id, run in runs.items() if run_id in gone), *old.values()],
        {
            run_id: parents[run_id]
            for run_id, run in runs.items()
            if run.data.tags.get(_PARENT) in old and run_id in parents
        },
    )


def _models(pipeline: Run) -> list[str]:
    """Return the IDs of the runs of the models of a state."""
    return [value for tag, value in pipeline.data.tags.items() if tag.startswith(_MODEL)]


def size_of_artifacts(store: Store, run_id: str) -> int:
    """Return the size of the artifacts of a run in bytes; 0 if they were lost."""

    def sizes(path: str | None = None) -> Iterator[int]:
        for file in store.client.list_artifacts(run_id, path):
            yield from sizes(file.path) if file.is_dir else [file.file_size or 0]

    try:
        return sum(sizes())
    except (MlflowException, OSError):
        return 0


def remove_leftovers(store: Store, leftovers: StoreLeftovers) -> None:
    """Remove versions, delete runs, and remove the artifacts of the runs that this function has ever deleted.

    MLflow keeps the rows of deleted runs until `mlflow gc`. That command is not used here: it also removes
    experiments that somebody has deleted and may want to restore.
    """
    client = store.client
    for number in leftovers.versions:
        client.delete_model_version(MODEL_NAME, number)
    for run_id, parent_id in leftovers.parents.items():
        client.set_tag(run_id, _PARENT, parent_id)
    for run in leftovers.runs:
        for model in find_logged_models(store, run.data.tags[KEY]):
            client.delete_logged_model(model.model_id)
        client.set_tag(run.info.run_id, _CLEANED, "true")
        client.delete_run(run.info.run_id)
    # A call that was killed has left artifacts of deleted runs.
    for run in client.search_runs([store.experiment_id], f"tags.`{_CLEANED}` = 'true'", ViewType.DELETED_ONLY):
        artifacts = get_artifact_repository(run.info.artifact_uri, client.tracking_uri)
        if artifacts.list_artifacts():
            artifacts.delete_artifacts()


def fetch_weights(store: Store, leftovers: StoreLeftovers, into: Path) -> list[Path]:
    """Download the weights of the versions that stay into a folder, and return the files.

    Raises:
        UserError: the artifacts of a version with an alias were lost. Those of others are left out.
    """
    files = []
    for number, run_id in leftovers.kept.items():
        folder = into / number
        folder.mkdir()
        try:
            path = f"{MODEL_FOLDER}/{PACKAGED}/model.safetensors"
            files.append(Path(store.client.download_artifacts(run_id, path, str(folder))))
        except (MlflowException, OSError) as error:
            if number in leftovers.aliased:
                said = " ".join(str(error).split())
                raise UserError(
                    f"the artifacts of version {number} cannot be read, so nothing is removed: {said}"
                ) from None
    return files
