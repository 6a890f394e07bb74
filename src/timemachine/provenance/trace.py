"""From which text, params, commit and machine an output came, and whether it can be made again now."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from timemachine.files import read_mapping, sha256_of
from timemachine.provenance.lock import (
    LockedStage,
    before,
    locked_files,
    md5_of,
    overlap,
    parse_lock,
    read_lock,
    stage_that_wrote,
)

_RAW = "data/raw/timemachine.txt"


def trace_output(root: Path, target: str) -> Iterator[str]:
    """Yield what is known of an output, one line for each thing.

    Args:
        root: the repository root.
        target: path of a file or folder that a stage wrote, as one sees it from the working directory.

    Raises:
        ValueError: no stage wrote it, or there is no whole `dvc.lock`.
    """
    path = _in_repository(root, target)
    stages = read_lock(root / "dvc.lock")
    name, out = stage_that_wrote(stages, path)
    lineage = before(stages, name)
    md5 = stages[name].outs[out]
    at_hand = md5_of(root / out)
    commit = commit_of(root, name, stages[name])
    yield f"output       {out}, MD5 {md5}: {_state(root, out, md5, at_hand)}"
    yield f"stage        {name}, after {', '.join(lineage[:-1]) or 'none'}"
    yield from _inputs(stages, lineage)
    for key, value in _told(stages, lineage).items():
        shown = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False)
        yield f"params       {key}: {' '.join(shown.removesuffix('...').split()).removesuffix(' ...')}"
    yield f"commit       {commit[1] if commit else 'none yet: the last one has another run of this stage'}"
    environments = list(_environments(root, stages, lineage))
    yield from environments or ["machine      no model is part of it, and no other output says"]
    yield from _again(root, stages, lineage, name, commit[0] if commit else None)


def _in_repository(root: Path, target: str) -> str:
    for folder in (Path.cwd(), root):
        path = (folder / target).resolve()
        if path.is_relative_to(root.resolve()):
            return path.relative_to(root.resolve()).as_posix()
    raise ValueError(f"{target}: outside the repository {root}")


def _state(root: Path, out: str, md5: str, at_hand: str | None) -> str:
    if at_hand == md5:
        return "at hand, as dvc.lock has it"
    cached = ", but DVC's cache has it: `dvc checkout`" if locked_files(root, out, md5) else ""
    return ("not at hand" if at_hand is None else "CHANGED since the stage wrote it") + cached


def _inputs(stages: Mapping[str, LockedStage], lineage: Sequence[str]) -> Iterator[str]:
    """Yield what came from outside: the text by its SHA-256, and folders that no stage wrote."""
    if "download" in lineage:
        yield f"text         {_RAW}, SHA-256 {stages['download'].params['download']['sha256']}"
    outside = {
        dep: md5
        for stage in lineage
        for dep, md5 in stages[stage].deps.items()
        if dep.startswith("data/") and not _is_output(stages, dep)
    }
    for dep, md5 in outside.items():
        yield f"also         {dep}, MD5 {md5}"


def _told(stages: Mapping[str, LockedStage], lineage: Sequence[str]) -> dict[str, Any]:
    """Return the params of a lineage; the check reads all of them and changes nothing by it."""
    return {key: value for stage in lineage if stage != "check" for key, value in stages[stage].params.items()}


def _environments(root: Path, stages: Mapping[str, LockedStage], lineage: Sequence[str]) -> Iterator[str]:
    """Yield the kinds of machines that the models of a lineage were trained on, each once."""
    seen = dict[str, list[str]]()
    for stage in lineage:
        for out, md5 in stages[stage].outs.items():
            files = locked_files(root, out, md5) if out.endswith("/environment.json") else None
            if files:
                machine = ", ".join(f"{key} {value}" for key, value in read_mapping(files[out]).items())
                seen.setdefault(machine, []).append(stage)
    for machine, names in seen.items():
        yield f"machine      {machine} ({', '.join(names)})"


def commit_of(root: Path, name: str, stage: LockedStage) -> tuple[str, str] | None:
    """Return the commit that brought a stage into `dvc.lock` as it is there now, and its line, if one did."""
    found = None
    for line in (_git(root, "log", "--format=%H %h %cs %s", "--", "dvc.lock") or "").splitlines():
        commit, shown = line.split(" ", 1)
        try:
            then = parse_lock((_git(root, "show", f"{commit}:dvc.lock") or "").encode()).get(name)
        except (yaml.YAMLError, KeyError, TypeError, AttributeError):
            then = None
        if then != stage:
            break
        found = commit, shown
    return found


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - git, no shell
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _again(
    root: Path, stages: Mapping[str, LockedStage], lineage: Sequence[str], name: str, commit: str | None
) -> Iterator[str]:
    """Yield whether the same can be made again from what is at hand, and how."""
    changed = sorted(
        {
            dep
            for stage in lineage
            for dep, md5 in stages[stage].deps.items()
            if not _is_output(stages, dep) and md5_of(root / dep) != md5
        }
    )
    changed += _changed_params(root, _told(stages, lineage))
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        yield f"again        not as it stands: since then {shown} changed"
        if commit:
            yield f"             `git checkout {commit[:12]}` has all of it as it was; then `dvc repro {name}`"
        return
    if "download" in lineage:
        wanted = stages["download"].params["download"]
        local = [_RAW, *(source for source in wanted["sources"] if "://" not in source)]
        if not any((root / file).is_file() and sha256_of(root / file) == wanted["sha256"] for file in local):
            yield f"again        yes, with internet, as the text is not at hand: `dvc repro --force {name}`"
            return
    yield f"again        yes: code, params and data are those of dvc.lock: `dvc repro --force {name}`"


def _is_output(stages: Mapping[str, LockedStage], dep: str) -> bool:
    return any(overlap(dep, out) for stage in stages.values() for out in stage.outs)


def _changed_params(root: Path, told: Mapping[str, Any]) -> list[str]:
    content = yaml.safe_load((root / "params.yaml").read_bytes())
    changed = []
    for key, value in told.items():
        now: Any = content
        for part in key.split("."):
            now = now.get(part) if isinstance(now, dict) else None
        if now != value:
            changed.append(f"{key} in params.yaml")
    return changed
