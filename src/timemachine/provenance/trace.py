"""The text, params, commit and machine that an output came from, and whether it can be reproduced now."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from timemachine.base.compute import differs_from_here
from timemachine.base.errors import UserError
from timemachine.base.files import read_mapping
from timemachine.pipeline import lock
from timemachine.pipeline.repository import git, has_texts

_MODELS = "data/models/"
# A stage and those that it depends on, in the order of the lock; the stage itself is the last one.
Lineage = Mapping[str, lock.LockedStage]


def trace_output(root: Path, target: str) -> Iterator[str]:
    """Yield the origin of an output, one line for each property.

    Args:
        root: the repository root.
        target: path of a file or folder that a stage wrote, relative to the working directory or to `root`.

    Raises:
        UserError: no stage wrote it, or `dvc.lock` is absent or damaged.
    """
    path = _in_repository(root, target)
    stages = lock.without_removed(root, lock.read_lock(root / "dvc.lock"))
    name, out = lock.stage_that_wrote(stages, path)
    lineage = lock.before(stages, name)
    *ancestors, _ = lineage
    md5 = stages[name].outs[out]
    files = lock.locked_files(root, out, md5)
    if files and not any(lock.overlap(path, file) for file in files):
        raise UserError(f"{path}: not among the {len(files)} files that {name} wrote below {out}")
    commit, shown = _commit_of(root, name, stages[name])
    recorded = _recorded(root, lineage)
    yield f"output       {out}, MD5 {md5}: {_state(root / out, md5, bool(files))}"
    yield f"stage        {name}, after {', '.join(ancestors) or 'none'}"
    params = lock.locked_params(lineage)
    # A stage for each text; one stage in earlier versions.
    texts = {name: stage for name, stage in lineage.items() if name.partition("@")[0] == "download"}
    for download in texts.values():
        of_text = next(iter(download.params.values()), None)
        yield f"text         {', '.join(download.outs)}, SHA-256 {lock.value_at(of_text, 'sha256') or 'unknown'}"
    for dep, hashed in lock.external_deps(lineage).items():
        if dep.startswith("data/"):
            yield f"also         {dep}, MD5 {hashed}"
    for key, value in params.items():
        dumped = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False)
        yield f"params       {key}: {' '.join(dumped.removesuffix('...').split()).removesuffix(' ...')}"
    yield f"commit       {shown}"
    seen = dict[str, list[str]]()
    for stage, machine in recorded.items():
        seen.setdefault(", ".join(f"{key} {value}" for key, value in machine.items()), []).append(stage)
    for kind, names in seen.items():
        yield f"machine      {kind} ({', '.join(names)})"
    if not seen:
        with_models = any(out.startswith(_MODELS) for ran in lineage.values() for out in ran.outs)
        lacking = "the models that it was made from are absent" if with_models else "it was made from no model"
        yield f"machine      not recorded: {lacking}"
    if changed := lock.changed_since(root, lineage):
        yield f"reproduce    not from this working tree: {changed} changed since then"
        if commit:
            yield f"             {_then(root, lineage, commit)}"
        return
    named = {key.removeprefix("texts."): value for key, value in params.items() if key.startswith("texts.")}
    if texts and not has_texts(root, {"texts": named, "download": params.get("download")}):
        yield f"reproduce    yes, with internet, because a text is absent: `dvc repro --force {name}`"
        return
    yield f"reproduce    yes: code, params and data are those of dvc.lock: `dvc repro --force {name}`"
    for stage, machine in recorded.items():
        recipe = lineage[stage].params.get(stage.replace("@", "."))
        if differing := differs_from_here(machine, lock.value_at(recipe, "device") or "auto"):
            yield f"             but other bytes are likely, because this machine has {differing}"
            return


def _in_repository(root: Path, target: str) -> str:
    for folder in (Path.cwd(), root):
        path = Path(os.path.normpath(folder / target))
        followed = Path(os.path.realpath(path.parent), path.name)  # which may itself be a link into DVC's cache
        for candidate in (followed, path):  # a folder of the repository may be a link to another disk
            if candidate.is_relative_to(root.resolve()):
                return candidate.relative_to(root.resolve()).as_posix()
    raise UserError(f"{target}: outside the repository {root}")


def _state(path: Path, md5: str, has_original: bool) -> str:
    at_hand = lock.md5_of(path)
    if at_hand == md5:
        return "present and unchanged"
    cached = "; DVC's cache has the original, `dvc checkout` restores it" if has_original else ""
    return ("absent" if at_hand is None else "CHANGED since the stage wrote it") + cached


def _recorded(root: Path, lineage: Lineage) -> dict[str, dict[str, str]]:
    """Return the kind of machine that each model of a lineage was trained on, as far as it is recorded."""
    recorded = {}
    for name, stage in lineage.items():
        for out, md5 in stage.outs.items():
            is_record = Path(out).match(f"{_MODELS}*/*/environment.json")
            if is_record and (files := lock.locked_files(root, out, md5)):
                recorded[name] = read_mapping(files[out])
    return recorded


def _commit_of(root: Path, name: str, stage: lock.LockedStage) -> tuple[str | None, str]:
    """Return hash and log line of the commit that brought a stage into `dvc.lock` as it is now; or None, why."""
    log = (git(root, "log", "--format=%H %h %cs %s", "--", "dvc.lock") or "").splitlines()
    if not log:
        return None, "none: dvc.lock is not in git"
    found: tuple[str | None, str] = None, "none: the last commit of dvc.lock has another run of this stage"
    for line in log:
        commit, described = line.split(" ", 1)
        then = lock.whole_stages(git(root, "show", f"{commit}:./dvc.lock") or "") or {}
        if then.get(name) != stage:
            break
        found = commit, described
    return found


def _then(root: Path, lineage: Lineage, commit: str) -> str:
    """Return whether the commit of a stage has the code, params and data with which it ran."""
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/commit.zip"
        if git(root, "archive", "--format=zip", f"--output={archive}", commit) is None:
            return f"git cannot check out commit {commit[:12]}"
        shutil.unpack_archive(archive, folder)
        try:
            lacking = lock.changed_since(Path(folder), lineage)
        except UserError as error:
            lacking = str(error).removeprefix(f"{folder}/")
    if lacking:
        return f"commit {commit[:12]} differs too: {lacking}"
    return f"to reproduce it: `git checkout {commit[:12]}`, then `dvc repro {list(lineage)[-1]}`"
