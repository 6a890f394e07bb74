"""Reading `dvc.lock` and the files that it describes."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
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
        return parse_lock(path.read_bytes())
    except FileNotFoundError:
        if not (path.parent / "dvc.yaml").exists():
            raise UserError(f"{path.parent}: no dvc.yaml here or above; go to a repository that has one") from None
        raise UserError(f"{path}: no such file; run `dvc repro`") from None
    except UserError as error:
        raise UserError(f"{path}: damaged ({error}); restore it from git") from None


def parse_lock(content: bytes | str) -> dict[str, LockedStage]:
    """Return the stages in the content of a `dvc.lock` by name.

    Raises:
        UserError: the content is damaged.
    """
    try:
        return {_text(name): _locked(stage) for name, stage in parse_yaml(content)["stages"].items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(" ".join(str(error).split())) from None


def whole_stages(content: bytes) -> dict[str, LockedStage] | None:
    """Return the stages of a dvc.lock; None if it is damaged."""
    try:
        stages = parse_lock(content)
    except ValueError:
        return None
    hashes = [md5 for stage in stages.values() for md5 in (*stage.deps.values(), *stage.outs.values())]
    return stages if all(re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5) for md5 in hashes) else None


def _locked(stage: Mapping[str, Any]) -> LockedStage:
    hashes = {
        kind: {_text(entry["path"]): str(entry["md5"]) for entry in stage.get(kind, [])}
        for kind in ("deps", "outs")
    }
    params = {_text(key): value for file in stage.get("params", {}).values() for key, value in file.items()}
    return LockedStage(str(stage["cmd"]), hashes["deps"], params, hashes["outs"])


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is not a name")
    return name


def stage_that_wrote(stages: Mapping[str, LockedStage], path: str) -> tuple[str, str]:
    """Return the name of the stage that wrote a file or folder, and the output that contains it.

    For a folder with several outputs of one stage, such as a checkpoint, the first output is returned.

    Raises:
        UserError: no stage or more than one stage wrote it.
    """
    outs = [(name, out) for name, stage in stages.items() for out in stage.outs]
    found = [(name, out) for name, out in outs if f"{path}/".startswith(f"{out}/")]
    folder = "" if path == "." else f"{path}/"
    below = [(name, out) for name, out in outs if out.startswith(folder)]
    if len({name for name, _ in found or below}) == 1:
        return (found or below)[0]
    if below:
        raise UserError(
            f"{path}: written by several stages; choose one of {', '.join(out for _, out in below[:5])}, …"
        )
    raise UserError(f"{path}: no output of any stage in dvc.lock")


def before(stages: Mapping[str, LockedStage], name: str) -> list[str]:
    """Return the stages that a stage depends on, in the order of the lock, followed by the stage itself."""
    todo, found = [name], set[str]()
    while todo:
        stage = todo.pop()
        found.add(stage)
        for other in stages.keys() - found:
            if any(overlap(dep, out) for dep in stages[stage].deps for out in stages[other].outs):
                todo.append(other)
    return [*(stage for stage in stages if stage in found and stage != name), name]


def is_output(stages: Mapping[str, LockedStage], path: str) -> bool:
    """Return whether a path is an output of a stage, or lies above or below one."""
    return any(overlap(path, out) for stage in stages.values() for out in stage.outs)


def locked_params(stages: Mapping[str, LockedStage], names: Sequence[str]) -> dict[str, Any]:
    """Return the params of stages, without the stage `check`, which reads all params but computes nothing."""
    return {key: value for name in names if name != "check" for key, value in stages[name].params.items()}


def changed_params(root: Path, locked: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of params whose value in params.yaml is not that of the lock."""
    params = read_yaml(root / "params.yaml") if locked else {}
    return [key for key, value in locked.items() if value_at(params, *key.split(".")) != value]


def changed_since(root: Path, stages: Mapping[str, LockedStage], names: Sequence[str]) -> list[str]:
    """Return the code, external data, params and commands in which a working tree differs from a run of stages.

    Raises:
        UserError: params.yaml or dvc.yaml is absent or not YAML.
    """
    inputs = {dep: md5 for name in names for dep, md5 in stages[name].deps.items() if not is_output(stages, dep)}
    changed = sorted(dep for dep, md5 in inputs.items() if md5_of(root / dep) != md5)
    changed += [f"{key} in params.yaml" for key in changed_params(root, locked_params(stages, names))]
    graph = read_yaml(root / "dvc.yaml")
    for name in names:
        body = value_at(graph, "stages", name.split("@")[0])
        if value_at(value_at(body, "do") or body, "cmd") != stages[name].cmd:
            changed.append(f"the command of {name} in dvc.yaml")
    return changed


def in_short(changed: Sequence[str]) -> str:
    """Return the first five changes, and the number of the others."""
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
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            is_leftover = name.startswith(".") and ".tmp" in name
            if not (is_leftover or name == ".gitignore" or name.endswith(".pyc")) and Path(parent, name).is_file():
                yield Path(parent, name)


def locked_files(root: Path, out: str, md5: str) -> dict[str, Path] | None:
    """Return the files of an output as in the lock, by path in the repository; None if they are not available.

    They are in the working tree if they are unchanged there, else in DVC's cache.

    Raises:
        UserError: DVC's config is damaged.
    """
    return files_of(root, out) if md5_of(root / out) == md5 else cached_files(root, out, md5)


def files_of(root: Path, out: str) -> dict[str, Path]:
    """Return the files of an output in the working tree, by path in the repository."""
    path = root / out
    return {file.relative_to(root).as_posix(): file for file in (_files(path) if path.is_dir() else [path])}


def cached_files(root: Path, out: str, md5: str) -> dict[str, Path] | None:
    """Return the files of an output in DVC's cache, by path in the repository; None if any is absent or damaged.

    Raises:
        UserError: DVC's config is damaged.
    """
    cache = cache_folder(root)
    cached = _cached(cache, md5)
    if cached is None or not md5.endswith(".dir"):
        return {out: cached} if cached else None
    listed = json.loads(cached.read_bytes())
    files = {f"{out}/{entry['relpath']}": _cached(cache, entry["md5"]) for entry in listed}
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
