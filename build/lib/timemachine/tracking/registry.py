"""The model registry: language models as versions of one registered model, and the aliases of versions.

A version is an MLflow model folder: a checkpoint and a pyfunc model with its code; nothing is pickled. The alias
`champion` names the version that is served, `challenger` the best model of the last published state, and
`previous` the champion before the present one. Each move of an alias is recorded in tags of the version.
"""

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

import timemachine
from timemachine.base.errors import UserError
from timemachine.pipeline.paths import LANGUAGE_MODEL, PACKAGED
from timemachine.tracking.environment import user
from timemachine.tracking.store import Store, local_folder

MODEL_NAME = "timemachine-lm"
# The folder of a run that holds the MLflow model.
MODEL_FOLDER = "model"

_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "torch")
_RECIPE, _MOVE = "timemachine.recipe", "timemachine.move."
# A tag in words, which MLflow's page shows before those of this package.
_SCORES = "bits_per_character"
_NO_SCORES = "no finite score"
_ALL = 10_000  # versions that one search returns
_ABOUT = (
    "Recurrent language models of The Time Machine, one version for each training. `champion` is the version "
    "that is served, `challenger` the best model of the last published state, `previous` the champion before "
    "the present one."
)


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes:
        number: version number in MLflow.
        run_id: ID of the run of its training.
        name: name of its recipe.
    """

    number: str
    run_id: str
    name: str


def package(checkpoint: Path, out: Path) -> None:
    """Write the MLflow model folder around a checkpoint.

    The folder contains the present code of this package, so that the version works after the package has changed.
    The model is given by a loader module and not by a script, so that MLflow runs no code to package it.

    Args:
        checkpoint: folder with `config.json`, `model.safetensors`, `vocabulary.json` and `history.csv`.
        out: folder to write; absent or empty.
    """
    logger = logging.getLogger("mlflow")
    with (
        tempfile.TemporaryDirectory() as temporary,
        warnings.catch_warnings(action="ignore"),
        ExitStack() as stack,
    ):
        # Without MLflow's log messages, and its warnings about its own type hints at import.
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        staged = Path(temporary) / Path(PACKAGED).name
        staged.mkdir()
        for name in LANGUAGE_MODEL:
            (staged / name).symlink_to((checkpoint / name).resolve())
        # Imported here because they take seconds and most publications package nothing.
        import mlflow.pyfunc

        from timemachine.tracking import serving

        mlflow.pyfunc.save_model(
            str(out),
            loader_module=serving.__name__,
            data_path=str(staged),
            code_paths=[str(Path(timemachine.__file__).parent)],
            signature=serving.SIGNATURE,
            input_example=serving.EXAMPLE,
            pip_requirements=[f"{name}=={installed_version(name).split('+')[0]}" for name in _REQUIREMENTS],
        )


def ensure_version(store: Store, run_id: str, name: str) -> Version:
    """Return the version of a run with the artifact folder `model`; it is created if absent.

    Args:
        store: an open store.
        run_id: ID of the run.
        name: name of the recipe.

    Raises:
        mlflow.exceptions.MlflowException: the store refused the request.
    """
    client = store.client
    if (found := _of_run(store, run_id)) is not None:
        return found
    try:
        client.create_registered_model(MODEL_NAME, description=_ABOUT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = RunsArtifactRepository.get_underlying_uri(f"runs:/{run_id}/{MODEL_FOLDER}", store.client.tracking_uri)
    tags = {_SCORES: _scores_of(store, run_id), _RECIPE: name}
    made = client.create_model_version(MODEL_NAME, source, run_id, tags=tags, await_creation_for=0)
    # Another machine may have created one at the same time; all machines keep the oldest.
    kept = _of_run(store, run_id) or _version(made)
    if kept.number != str(made.version):
        client.delete_model_version(MODEL_NAME, made.version)
    return kept


def aliased(store: Store, alias: str) -> Version | None:
    """Return the version that an alias names; None if there is no such alias or no registered model."""
    found = store.client.search_registered_models(f"name = '{MODEL_NAME}'")
    aliases = found[0].aliases if found else {}
    return _version(store.client.get_model_version(MODEL_NAME, str(aliases[alias]))) if alias in aliases else None


def aliases_of_runs(store: Store) -> dict[str, str]:
    """Return the aliases of versions by the ID of their run; several are joined by a comma."""
    found = store.client.search_registered_models(f"name = '{MODEL_NAME}'")
    aliases: dict[str, str] = {}
    for alias, number in sorted(found[0].aliases.items()) if found else ():
        run_id = str(store.client.get_model_version(MODEL_NAME, str(number)).run_id)
        aliases[run_id] = f"{aliases[run_id]}, {alias}" if run_id in aliases else alias
    return aliases


def move_alias(
    store: Store, alias: str, to: Version | None, *, reason: str, scores: Mapping[str, float | None] = {}
) -> None:
    """Move an alias to a version, or remove it, and record that; nothing happens if it is there already.

    Args:
        store: an open store.
        alias: the alias.
        to: the version, which gets the record; None: the alias is removed, and the version that it named gets it.
        reason: reason of the move, for the record.
        scores: scores that were compared, for the record.
    """
    before = aliased(store, alias)
    version = to or before
    if before == to or version is None:
        return
    now = datetime.now(UTC)
    move = {
        "alias": alias,
        "when": now.isoformat(timespec="seconds"),
        "who": user(),
        "from": before.number if before else None,
        "to": to.number if to else None,
        # JSON has no NaN, the score of a model that diverged.
        "scores": {key: x if x is None or math.isfinite(x) else None for key, x in scores.items()},
        "reason": reason,
    }
    # Before the alias moves: a process that is killed in between leaves a record without a move, and the next run
    # moves the alias and records it again.
    key = f"{_MOVE}{now:%Y%m%dT%H%M%S.%fZ}"
    store.client.set_model_version_tag(MODEL_NAME, version.number, key, json.dumps(move))
    if to:
        store.client.set_registered_model_alias(MODEL_NAME, alias, to.number)
    else:
        store.client.delete_registered_model_alias(MODEL_NAME, alias)
    describe(store)


def describe(store: Store) -> None:
    """Write the descriptions of the registered model and of its versions: scores, and aliases with their dates."""
    found = store.client.search_registered_models(f"name = '{MODEL_NAME}'")
    if not found:
        return
    aliases: dict[str, list[str]] = {}
    for alias, number in sorted(found[0].aliases.items()):
        aliases.setdefault(str(number), []).append(alias)
    named: dict[str, str] = {}
    versions = store.client.search_model_versions(f"name = '{MODEL_NAME}'", max_results=_ALL)
    for version in sorted(versions, key=lambda one: int(one.version)):
        number, tags = str(version.version), version.tags
        if _SCORES not in tags:  # a version of an earlier package
            tags = tags | {_SCORES: _scores_of(store, str(version.run_id))}
            store.client.set_model_version_tag(MODEL_NAME, number, _SCORES, tags[_SCORES])
        held = [f"{alias}{_since(tags, alias, number)}" for alias in aliases.get(number, [])]
        text = f"{tags.get(_RECIPE, '')}: " + "; ".join([tags[_SCORES], ", ".join(held)]).removesuffix("; ")
        if version.description != text:
            store.client.update_model_version(MODEL_NAME, number, text)
        named |= dict.fromkeys(aliases.get(number, []), f"- version {number}, {text}")
    about = "\n".join([_ABOUT, "", *dict.fromkeys(named[alias] for alias in sorted(named))]).strip()
    if found[0].description != about:
        store.client.update_registered_model(MODEL_NAME, about)


def _scores_of(store: Store, run_id: str) -> str:
    """Return the bits per character of the validation and the test part in words."""
    metrics = store.client.get_run(run_id).data.metrics
    parts = {part: metrics.get(f"{part}_bits_per_character", math.nan) for part in ("val", "test")}
    known = [f"{value:.3f} {part}" for part, value in parts.items() if math.isfinite(value)]
    return " and ".join(known) + " bits per character" if known else _NO_SCORES


def _since(tags: Mapping[str, str], alias: str, number: str) -> str:
    """Return since when a version has an alias, from its recorded moves."""
    moves = [json.loads(value) for key, value in sorted(tags.items()) if key.startswith(_MOVE)]
    times = [move["when"][:10] for move in moves if (move["alias"], move["to"]) == (alias, number)]
    return f" since {times[-1]}" if times else ""


def recorded_moves(store: Store, version: Version) -> list[dict[str, Any]]:
    """Return the records of `move_alias` in a version, the oldest first."""
    tags = store.client.get_model_version(MODEL_NAME, version.number).tags
    return [json.loads(value) for key, value in sorted(tags.items()) if key.startswith(_MOVE)]


def fetch_checkpoint(store: Store, version: Version, into: Path) -> Path:
    """Download the checkpoint of a version into a folder and return its path."""
    into.mkdir(parents=True, exist_ok=True)
    return download(store, version, f"{MODEL_FOLDER}/{PACKAGED}", into)


def download(store: Store, version: Version, path: str, into: Path) -> Path:
    """Download artifacts of the run of a version into a folder and return their path.

    Raises:
        UserError: the store has an address of artifacts on this machine where there is no such folder.
    """
    folder = local_folder(store.client.get_run(version.run_id).info.artifact_uri)
    if folder is not None and not (folder / path).exists():
        raise UserError(
            f"{folder / path}: no such folder, where version {version.number} of {MODEL_NAME} is kept; "
            "if this repository was moved or copied, run `timemachine publish`"
        )
    return Path(store.client.download_artifacts(version.run_id, path, str(into)))


def _of_run(store: Store, run_id: str) -> Version | None:
    """Return the oldest version of a run."""
    found = store.client.search_model_versions(f"name = '{MODEL_NAME}' and run_id = '{run_id}'")
    return _version(min(found, key=lambda version: int(version.version))) if found else None


def _version(version: ModelVersion) -> Version:
    return Version(str(version.version), str(version.run_id), version.tags.get(_RECIPE, ""))
