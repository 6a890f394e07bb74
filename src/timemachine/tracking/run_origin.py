"""The text, params, commit and machine that a run in MLflow came from, and whether it can be reproduced now."""

import re
from collections.abc import Iterator
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from timemachine.base.compute import differs_from_here
from timemachine.base.config import parse_yaml
from timemachine.base.errors import UserError
from timemachine.pipeline.lock import value_at
from timemachine.pipeline.repository import git, has_texts
from timemachine.tracking.address import hide_secrets
from timemachine.tracking.store import Store, open_store

_KIND = ("python", "torch", "numpy", "system", "processor", "device")
_MACHINE = (*_KIND, "num_threads", "host")


def trace_run(root: Path, experiment: str, run_id: str) -> list[str]:
    """Return the origin of a run, one line for each property.

    Args:
        root: the repository root.
        experiment: name of the MLflow experiment.
        run_id: 32 hexadecimal digits.

    Raises:
        UserError: there is no such run, or the store cannot be read.
    """
    with open_store(root, experiment, alone=False, create=False) as store:
        run = _run(store, run_id)
        if run is None:
            raise UserError(f"{run_id}: no such run in {hide_secrets(store.client.tracking_uri)}")
        # The run of a model has the params of its recipe only; its parent has those of the whole pipeline.
        parent = _run(store, run.data.tags.get("mlflow.parentRunId", ""))
        lines = _lines(root, run, parent or run)
        # Without control characters, which could pass for other lines.
        return ["".join(char if char.isprintable() else ascii(char)[1:-1] for char in line) for line in lines]


def _run(store: Store, run_id: str) -> Run | None:
    try:
        return store.client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _lines(root: Path, run: Run, state: Run) -> Iterator[str]:
    tags = run.data.tags
    stage = tags.get("DVC_STAGE")
    yield f"run          {run.info.run_name}, {run.info.status}" + (f", of stage {stage}" if stage else "")
    texts = {key: value for key, value in state.data.params.items() if re.fullmatch(r"texts\..*\.sha256", key)}
    for key, sha256 in sorted(texts.items()):
        yield f"text         {key.split('.')[1]}, SHA-256 {sha256}"
    if not texts:  # earlier versions had one text
        yield f"text         SHA-256 {state.data.params.get('download.sha256', 'unknown')}"
    yield f"data         SHA-256 {tags.get('timemachine.data_sha256', 'unknown')} of the training data"
    for key, value in sorted(run.data.params.items()):
        yield f"params       {key}: {value}"
    of_state = state.data.tags
    commit = _commit(tags) or _commit(of_state)
    dirty = "true" in (tags.get("timemachine.git_dirty"), of_state.get("timemachine.git_dirty"))
    yield f"commit       {commit or 'unknown'}" + (", with uncommitted changes" if dirty else "")
    machine = [f"{name} {tags[f'timemachine.{name}']}" for name in _MACHINE if f"timemachine.{name}" in tags]
    yield f"machine      {', '.join(machine) or 'unknown: not recorded'}"
    yield f"reproduce    {_again(root, run, commit, dirty)}"


def _commit(tags: dict[str, str]) -> str | None:
    """Return the commit in the tags of a run, if it is a hash."""
    # git would take a value that begins with `-` as an option.
    commit = tags.get("mlflow.source.git.commit", "")
    return commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else None


def _again(root: Path, run: Run, commit: str | None, dirty: bool) -> str:
    """Return whether this repository has the commit of a run, and the commit the params of the run."""
    if not commit:
        return "unknown: the run names no commit"
    try:
        content = parse_yaml(git(root, "show", f"{commit}:./params.yaml") or "")
    except UserError:
        content = None
    if not isinstance(content, dict):
        return f"no: this repository has no commit {commit[:12]}; try `git fetch`"
    tags = run.data.tags
    stage = tags.get("DVC_STAGE", "")
    section, _, name = stage.partition("@")
    recipe = value_at(content, section, name)
    recipe = recipe if isinstance(recipe, dict) else {}
    differing = [key for key, value in recipe.items() if run.data.params.get(key, str(value)) != str(value)]
    if differing or (name and not recipe):
        what = ", ".join(differing) or name
        return f"by hand: the commit has other params ({section}: {what}); use those listed above"
    doubt = ", if the uncommitted changes do not matter" if dirty else ""
    if not has_texts(root, content):
        doubt = f", with internet, because a text is absent{doubt}"
    machine = {name: tags[tag] for name in _KIND if (tag := f"timemachine.{name}") in tags}
    other = differs_from_here(machine, run.data.params.get("device", "auto"))
    but = f"; other bytes are likely, because this machine has {other}" if other else ""
    return f"yes{doubt}: `git checkout {commit[:12]}`, then `dvc repro{f' {stage}' if stage else ''}`{but}"
