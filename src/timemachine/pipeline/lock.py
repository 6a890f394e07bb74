"""Reading `dvc.lock` and the files that it describes."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timemachine.base.config import parse_yaml, read_yaml
from timemachine.base.errors import UserError


@dataclass(frozen=True)
class LockedStage:
    """One stage at its last run.

    Attributes:
        cmd: the command.
        deps: path and MD5 of each dependency; the MD5 of a folder ends in `.dir`.
        params: dotted key and value of each param.
        outs: path and MD5 of each output.
    """

    cmd: str
    deps: Mapping[str, str]
    params: Mapping[str, Any]
    outs: Mapping[str, str]


def read_lock(path: Path) -> dict[str, LockedStage]:
    """Return the stages of a `dvc.lock` by name.

    Raises:
        UserError: the file is absent or damaged.
    """
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        if not (path.parent / "dvc.yaml").exists():
            raise UserError(f"{path.parent}: no dvc.yaml here or above; go to a repository that has one") from None
        raise UserError(f"{path}: no such file; run `dvc repro`") from None
    except UserError as error:
        raise UserError(f"{path}: damaged ({error}); restore it from git") from None


def _parse(content: bytes | str) -> dict[str, LockedStage]:
    try:
        stages = {_text(name): _stage(stage) for name, stage in parse_yaml(content)["stages"].items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(" ".join(str(error).split())) from None
    # DVC keeps the entry of a stage that has become a foreach.
    replaced = {name.partition("@")[0] for name in stages if "@" in name}
    return {name: stage for name, stage in stages.items() if name not in replaced}


def without_removed(root: Path, stages: Mapping[str, LockedStage]) -> dict[str, LockedStage]:
    """Return the stages without those of a foreach whose entry params.yaml no longer has. DVC keeps them.

    Raises:
        UserError: params.yaml or dvc.yaml is absent or not YAML.
    """
    graph, params = read_yaml(root / "dvc.yaml"), read_yaml(root / "params.yaml")

    def is_there(name: str) -> bool:
        stage, _, key = name.partition("@")
        over = str(value_at(graph, "stages", stage, "foreach") or "")
        entries = value_at(params, *over.removeprefix("${").removesuffix("}").split("."))
        return not isinstance(entries, dict | list) or key in map(str, entries)

    return {name: stage for name, stage in stages.items() if is_there(name)}


def _stage(content: Any) -> LockedStage:
    deps, outs = (
        {_text(entry["path"]): _text(entry["md5"], r"[0-9a-f]{32}(\.dir)?") for entry in content.get(kind, [])}
        for kind in ("deps", "outs")
    )
    params = {_text(key): value for file in content.get("params", {}).values() for key, value in file.items()}
    return LockedStage(str(content["cmd"]), deps, params, outs)


def _text(value: object, pattern: str = "(?s:.*)") -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise TypeError(f"{value!r} is not a name or an MD5")
    return value


def whole_stages(content: bytes | str | None) -> dict[str, LockedStage] | None:
    """Return the stages in the content of a `dvc.lock` by name; None if it is damaged or absent."""
    try:
        return _parse(content or b"")
    except UserError:
        return None


def run_of_a_stage(content: bytes) -> LockedStage | None:
    """Return the content of an entry of the run cache, one run of a stage; None if it is damaged."""
    try:
        return _stage(parse_yaml(content))
    except (UserError, LookupError, TypeError, AttributeError):
        return None


def stage_that_wrote(stages: Mapping[str, LockedStage], path: str) -> tuple[str, str]:
    """Return the name of the stage that wrote a file or folder, and the output that contains it.

    For a folder with several outputs of one stage, such as a checkpoint, the first output is returned.

    Raises:
        UserError: no stage or more than one stage wrote it.
    """
    outs = [(name, out) for name, stage in stages.items() for out in stage.outs]
    folder = "" if path == "." else f"{path}/"
    above = [(name, out) for name, out in outs if f"{path}/".startswith(f"{out}/")]
    found = above or [(name, out) for name, out in outs if out.startswith(folder)]
    if not found:
        raise UserError(f"{path}: no output of any stage in dvc.lock")
    if len({name for name, _ in found}) > 1:
        some = ", ".join(out for _, out in found[:5])
        raise UserError(f"{path}: written by several stages; choose one of {some}, …")
    return found[0]


def before(stages: Mapping[str, LockedStage], name: str) -> dict[str, LockedStage]:
    """Return the stages that a stage depends on, in the order of the lock, followed by the stage itself."""
    todo, found = [name], set[str]()
    while todo:
        stage = todo.pop()
        found.add(stage)
        for other in stages.keys() - found:
            if any(overlap(dep, out) for dep in stages[stage].deps for out in stages[other].outs):
                todo.append(other)
    return {stage: stages[stage] for stage in [*(stage for stage in stages if stage in found - {name}), name]}


def external_deps(stages: Mapping[str, LockedStage]) -> dict[str, str]:
    """Return path and MD5 of the dependencies of stages that lie neither above nor below one of their outputs."""
    outs = [out for stage in stages.values() for out in stage.outs]
    deps = {dep: md5 for stage in stages.values() for dep, md5 in stage.deps.items()}
    return {dep: md5 for dep, md5 in deps.items() if not any(overlap(dep, out) for out in outs)}


def locked_params(stages: Mapping[str, LockedStage]) -> dict[str, Any]:
    """Return the params of stages, without the stage `check`, which reads all params but computes nothing."""
    read = (stage.params for name, stage in stages.items() if name != "check")
    return {key: value for params in read for key, value in params.items()}


def changed_params(root: Path, locked: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of params whose value in params.yaml is not that of the lock."""
    params = read_yaml(root / "params.yaml") if locked else {}
    return [key for key, value in locked.items() if value_at(params, *key.split(".")) != value]


def changed_since(root: Path, stages: Mapping[str, LockedStage]) -> str:
    """Return the code, external data, params and commands in which a working tree differs from a run of stages.

    Returns:
        The first five of them, and the number of the others; empty if there are none.

    Raises:
        UserError: params.yaml or dvc.yaml is absent or not YAML.
    """
    changed = sorted(dep for dep, md5 in external_deps(stages).items() if md5_of(root / dep) != md5)
    changed += [f"{key} in params.yaml" for key in changed_params(root, locked_params(stages))]
    graph = read_yaml(root / "dvc.yaml")
    for name, stage in stages.items():
        body = value_at(graph, "stages", name.split("@")[0])
        if value_at(value_at(body, "do") or body, "cmd") != stage.cmd:
            changed.append(f"the command of {name} in dvc.yaml")
    return ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")


def value_at(content: Any, *keys: str) -> Any:
    """Return the value below keys in nested mappings; None if a key is absent."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def overlap(first: str, second: str) -> bool:
    """Return whether two paths are the same, or one lies below the other."""
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")


def md5_of(path: Path) -> str | None:
    """Return the MD5 of a file or folder as DVC computes it; None if the path does not exist."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    if path.is_dir():
        return hashlib.md5(listing(path), usedforsecurity=False).hexdigest() + ".dir"
    return None


def listing(folder: Path) -> bytes:
    """Return what DVC writes of a folder into its cache: the hashes of its files."""
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    # DVC sorts by the parts of a path.
    names = sorted(files, key=lambda name: name.split("/"))
    return json.dumps([{"md5": md5_of(files[name]), "relpath": name} for name in names]).encode()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that `.dvcignore` does not exclude."""

    def refuse(error: OSError) -> None:
        raise error  # else unreadable folders would be left out

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name != "__pycache__" and not _is_leftover(name)]
        for name in names:
            if (
                not (_is_leftover(name) or name == ".gitignore" or name.endswith(".pyc"))
                and Path(parent, name).is_file()
            ):
                yield Path(parent, name)


def _is_leftover(name: str) -> bool:
    return name.startswith(".") and ".tmp" in name


def files_of(root: Path, out: str) -> dict[str, Path]:
    """Return the files of an output in the working tree, by path in the repository."""
    path = root / out
    return {file.relative_to(root).as_posix(): file for file in (_files(path) if path.is_dir() else [path])}


def locked_files(root: Path, out: str, md5: str) -> dict[str, Path] | None:
    """Return the files of an output as in the lock, by path in the repository; None if any is absent or damaged.

    They are in the working tree if they are unchanged there, else in DVC's cache.

    Raises:
        UserError: DVC's config is damaged.
    """
    if md5_of(root / out) == md5:
        return files_of(root, out)
    cache = cache_folder(root)
    files = {out: _cached(cache, md5)}
    if md5.endswith(".dir") and (listed := files[out]):
        entries = json.loads(listed.read_bytes())
        files = {f"{out}/{entry['relpath']}": _cached(cache, entry["md5"]) for entry in entries}
    whole = {name: file for name, file in files.items() if file}
    return whole if len(whole) == len(files) else None


def _cached(cache: Path, md5: str) -> Path | None:
    """Return the cache file with a hash, for a folder the list of its files; None if it is absent or damaged."""
    path = cache / "files/md5" / md5[:2] / md5[2:]
    return path if md5_of(path) == md5.removesuffix(".dir") else None


def cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache, which the config of the repository or of the user may change."""
    from dvc.config import Config  # takes 0.1 s and is rarely needed
    from dvc.exceptions import DvcException

    try:
        return root / ".dvc" / Config(str(root / ".dvc"))["cache"].get("dir", "cache")
    except (DvcException, SyntaxError, TypeError) as error:
        raise UserError(f"{root / '.dvc/config'}: damaged ({' '.join(str(error).split())})") from None
