"""The text, params, commit and machine that an output came from, and whether it can be reproduced now."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from timemachine.base.compute import differs_from_here
from timemachine.base.errors import UserError
from timemachine.base.files import read_mapping
from timemachine.pipeline.lock import (
    LockedStage,
    before,
    cached_files,
    changed_since,
    files_of,
    in_short,
    is_output,
    locked_files,
    locked_params,
    md5_of,
    overlap,
    parse_lock,
    read_lock,
    stage_that_wrote,
    value_at,
)
from timemachine.pipeline.repository import RAW, checkout, git, names_a_text, text_at_hand

_MODELS = "data/models/"
# A stage and those that it depends on, in the order of the lock; the stage itself is the last one.
Lineage = Mapping[str, LockedStage]


def trace_output(root: Path, target: str) -> Iterator[str]:
    """Yield the origin of an output, one line for each property.

    Args:
        root: the repository root.
        target: path of a file or folder that a stage wrote, relative to the working directory or to `root`.

    Raises:
        UserError: no stage wrote it, or `dvc.lock` is absent or damaged.
    """
    path = _in_repository(root, target)
    stages = read_lock(root / "dvc.lock")
    name, out = stage_that_wrote(stages, path)
    lineage = {ancestor: stages[ancestor] for ancestor in before(stages, name)}
    md5 = stages[name].outs[out]
    at_hand = md5_of(root / out)
    files = files_of(root, out) if at_hand == md5 else cached_files(root, out, md5)
    if files and not any(overlap(path, file) for file in files):
        raise UserError(f"{path}: not among the {len(files)} files that {name} wrote below {out}")
    commit = _commit_of(root, name, stages[name])
    yield f"output       {out}, MD5 {md5}: {_state(md5, at_hand, bool(files))}"
    yield f"stage        {name}, after {', '.join(list(lineage)[:-1]) or 'none'}"
    yield from _inputs(lineage)
    for key, value in locked_params(lineage, list(lineage)).items():
        shown = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False)
        yield f"params       {key}: {' '.join(shown.removesuffix('...').split()).removesuffix(' ...')}"
    if commit is None:
        in_git = git(root, "log", "-1", "--format=%H", "--", "dvc.lock")
        reason = (
            "the last commit of dvc.lock has another run of this stage" if in_git else "dvc.lock is not in git"
        )
    yield f"commit       {commit[1] if commit else f'none: {reason}'}"
    recorded = _recorded(root, lineage)
    yield from _machines(lineage, recorded)
    yield from _again(root, lineage, commit[0] if commit else None, recorded)


def _in_repository(root: Path, target: str) -> str:
    for folder in (Path.cwd(), root):
        path = Path(os.path.normpath(folder / target))
        followed = Path(os.path.realpath(path.parent), path.name)  # which may itself be a link into DVC's cache
        for candidate in (followed, path):  # a folder of the repository may be a link to another disk
            if candidate.is_relative_to(root.resolve()):
                return candidate.relative_to(root.resolve()).as_posix()
    raise UserError(f"{target}: outside the repository {root}")


def _state(md5: str, at_hand: str | None, is_cached: bool) -> str:
    if at_hand == md5:
        return "present and unchanged"
    cached = "; DVC's cache has the original, `dvc checkout` restores it" if is_cached else ""
    return ("absent" if at_hand is None else "CHANGED since the stage wrote it") + cached


def _inputs(lineage: Lineage) -> Iterator[str]:
    """Yield the inputs that no stage wrote: the text with its SHA-256, and other files and folders."""
    if "download" in lineage:
        yield f"text         {RAW}, SHA-256 {_wanted(lineage)['sha256']}"
    deps = {dep: md5 for stage in lineage.values() for dep, md5 in stage.deps.items() if dep.startswith("data/")}
    outside = {dep: md5 for dep, md5 in deps.items() if not is_output(lineage, dep)}
    for dep, md5 in outside.items():
        yield f"also         {dep}, MD5 {md5}"


def _wanted(lineage: Lineage) -> Mapping[str, Any]:
    wanted = lineage["download"].params.get("download")
    if names_a_text(wanted):
        return wanted
    raise UserError("dvc.lock: the stage download records no hash of a text; run `dvc repro`")


def _recorded(root: Path, lineage: Lineage) -> dict[str, dict[str, str]]:
    """Return the kind of machine that each model of a lineage was trained on, as far as it is recorded."""
    recorded = {}
    for name, stage in lineage.items():
        for out, md5 in stage.outs.items():
            if Path(out).match(f"{_MODELS}*/*/environment.json") and (files := locked_files(root, out, md5)):
                recorded[name] = read_mapping(files[out])
    return recorded


def _machines(lineage: Lineage, recorded: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield each kind of machine once, with the stages that ran on it."""
    seen = dict[str, list[str]]()
    for stage, machine in recorded.items():
        seen.setdefault(", ".join(f"{key} {value}" for key, value in machine.items()), []).append(stage)
    for kind, names in seen.items():
        yield f"machine      {kind} ({', '.join(names)})"
    if not seen:
        with_models = any(out.startswith(_MODELS) for stage in lineage.values() for out in stage.outs)
        lacking = "the models that it was made from are absent" if with_models else "it was made from no model"
        yield f"machine      not recorded: {lacking}"


def _commit_of(root: Path, name: str, stage: LockedStage) -> tuple[str, str] | None:
    """Return hash and log line of the commit that brought a stage into `dvc.lock` as it is now, if any."""
    found = None
    for line in (git(root, "log", "--format=%H %h %cs %s", "--", "dvc.lock") or "").splitlines():
        commit, shown = line.split(" ", 1)
        try:
            then = parse_lock(git(root, "show", f"{commit}:./dvc.lock") or "").get(name)
        except UserError:
            then = None
        if then != stage:
            break
        found = commit, shown
    return found


def _then(root: Path, lineage: Lineage, commit: str) -> str:
    """Return whether the commit of a stage has the code, params and data with which it ran."""
    with tempfile.TemporaryDirectory() as folder:
        if not checkout(root, commit, Path(folder)):
            return f"git cannot check out commit {commit[:12]}"
        try:
            lacking = changed_since(Path(folder), lineage, list(lineage))
        except UserError as error:
            lacking = [str(error).removeprefix(f"{folder}/")]
    if lacking:
        return f"commit {commit[:12]} differs too: {in_short(lacking)}"
    return f"to reproduce it: `git checkout {commit[:12]}`, then `dvc repro {list(lineage)[-1]}`"


def _again(
    root: Path, lineage: Lineage, commit: str | None, recorded: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield whether the last stage of a lineage can be reproduced from the present files, and how."""
    name = list(lineage)[-1]
    if changed := changed_since(root, lineage, list(lineage)):
        yield f"reproduce    not from this working tree: {in_short(changed)} changed since then"
        if commit:
            yield f"             {_then(root, lineage, commit)}"
        return
    if "download" in lineage and text_at_hand(root, _wanted(lineage)) is None:
        yield f"reproduce    yes, with internet, because the text is absent: `dvc repro --force {name}`"
        return
    yield f"reproduce    yes: code, params and data are those of dvc.lock: `dvc repro --force {name}`"
    for stage, machine in recorded.items():
        recipe = lineage[stage].params.get(stage.replace("@", "."))
        if differing := differs_from_here(machine, value_at(recipe, "device") or "auto"):
            yield f"             but other bytes are likely, because this machine has {differing}"
            return
