"""Find damaged entries in DVC's file cache and run cache, and in numba's cache."""

import hashlib
import json
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from timemachine.base.files import write_bytes
from timemachine.pipeline.lock import files_of, listing, md5_of, whole_stages

# A message, and the function that repairs the fault.
Fault = tuple[str, Callable[[], object]]


def run_cache(runs: Path, everything: bool) -> Iterator[Fault]:
    """Find what DVC leaves if it ends while it notes a run: a temporary file, or a folder without an entry.

    Args:
        runs: the folder of the run cache.
        everything: find also entries whose content does not have the hash that is their name.
    """
    for folder in runs.glob("*/*/"):
        entries = list(folder.iterdir())
        damaged = [path for path in entries if path.suffix == ".tmp" or (everything and not _is_whole(path))]
        if len(damaged) == len(entries):
            yield f"run cache: removed {folder.name}, which has no whole entry", partial(shutil.rmtree, folder)
        else:
            yield from ((f"run cache: removed the damaged {path.name}", path.unlink) for path in damaged)


def machine_code(sources: Path) -> Iterator[Fault]:
    """Find files of numba's cache of machine code that a power cut has emptied, which numba cannot read."""
    for path in sorted(sources.rglob("__pycache__/*.nb[ic]")):
        if not path.stat().st_size:
            yield f"machine code: removed the empty {path.name}", path.unlink


def _is_whole(entry: Path) -> bool:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # DVC reads by this library; PyYAML takes 1e-05 for text.
        content = json.dumps(_hashed(YAML(typ="safe").load(entry.read_bytes())), sort_keys=True)
    except (YAMLError, ValueError, TypeError, RecursionError):
        return False
    return hashlib.sha256(content.encode()).hexdigest() == entry.name


def _hashed(value: Any) -> Any:
    """Return what DVC hashes of a value in the run cache: all but sizes and numbers of files."""
    if isinstance(value, dict):
        return {key: _hashed(item) for key, item in value.items() if key not in ("size", "nfiles")}
    return [_hashed(item) for item in value] if isinstance(value, list) else value


def cache_files(root: Path, cache: Path) -> Iterator[Fault]:
    """Find damaged files that DVC would trust, because they are read-only."""
    held: dict[str | None, Path] | None = None
    for path in sorted(cache.glob("[0-9a-f][0-9a-f]/*")):
        md5 = path.parent.name + path.name
        if path.stat().st_mode & stat.S_IWUSR or not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5):
            continue
        if md5_of(path) != md5.removesuffix(".dir"):
            held = _held(root) if held is None else held
            source = held.get(md5)
            what = "replaced" if source else "removed"
            yield f"cache: {what} the damaged {md5}", partial(_replace, path, source)


def _held(root: Path) -> dict[str | None, Path]:
    """Return, by their MD5, the outputs that the workspace has as dvc.lock names them, and the files in them."""
    lock, held = root / "dvc.lock", dict[str | None, Path]()
    for stage in (whole_stages(lock.read_bytes() if lock.exists() else None) or {}).values():
        for out in (out for out, md5 in stage.outs.items() if md5_of(root / out) == md5):
            held |= {md5_of(path): path for path in (root / out, *files_of(root, out).values())}
    return held


def _replace(path: Path, source: Path | None) -> None:
    path.unlink()  # without the file DVC runs the stage again, so it is put back if the workspace has it
    if source:
        write_bytes(path, listing(source) if source.is_dir() else source.read_bytes())
        path.chmod(0o444)
