"""Repair what a DVC that was killed, a full disk or a power cut has left, from outside and for stock DVC.

Not every state can be prevented from outside: on a disk that fills before DVC's first note of hashes, DVC waits
at full load until space is free. `check_space`, before the start, makes that rare.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import psutil

from timemachine.base.errors import UserError
from timemachine.pipeline.processes import end, orphaned_stages, running_dvc
from timemachine.provenance import lock
from timemachine.provenance.lock import LockedStage, files_of, md5_of, parse_lock, parse_yaml, value_at

# Where the states of trainings lie, a folder each; the file in it names the stage that is done, as DVC calls it.
STATES = Path(".timemachine/resume")
FINISHED = "finished"
# What repair keeps aside: the last whole dvc.lock, the last one that it replaced, and the boot it last ran in.
_KEPT = Path(".timemachine/repair")
# A few times what DVC needs for its own notes; less than that and a run would fail soon in any case.
_MIN_FREE_BYTES = 100_000_000
_BOOT = Path("/proc/sys/kernel/random/boot_id")

# A line that says what was wrong and what was done, and what does it.
Fault = tuple[str, Callable[[], object]]


def repair(root: Path, say: Callable[[str], object], everything: bool = False) -> None:
    """Mend what is damaged in a repository, and change nothing while a DVC runs in it.

    The cache is hashed only after a new boot, or where something else was wrong: a file in it is damaged only by
    a power cut, and a DVC that was killed while it wrote leaves its entries in `.dvc/tmp/rwlock`. A repair that
    is broken off starts again from the beginning.

    Args:
        root: the repository root.
        say: is called with one line for each thing that was mended.
        everything: hash the cache in any case.

    Raises:
        UserError: the folder is not one that can be repaired; nothing was changed.
    """
    import zc.lockfile  # type: ignore[import-untyped]

    _refuse(root)
    cache = lock._cache(root)
    (root / ".dvc/tmp").mkdir(exist_ok=True)
    try:
        held = zc.lockfile.LockFile(str(root / ".dvc/tmp/lock"))  # DVC's own, by the library that it uses
    except zc.lockfile.LockError:
        say("DVC is running in this repository; nothing was repaired")
        return
    try:
        if pids := running_dvc(root, named=_owners(root) or ()):
            say(f"DVC is running in this repository (PID {', '.join(map(str, pids))}); nothing was repaired")
            return
        boot, now = root / _KEPT / "boot", _read(_BOOT) or str(psutil.boot_time()).encode()
        if faults := list(
            chain(_stages(root), _rwlock(root), _lock(root), _leftovers(root), _run_folders(cache / "runs"))
        ):
            boot.unlink(missing_ok=True)
            _mend(faults, say)
        if everything or _read(boot) != now:
            runs = chain(_run_entries(cache / "runs"), _run_folders(cache / "runs"))
            _mend(chain(runs, _cache_files(root, cache / "files/md5")), say)
            _write(boot, now)
        _mend(_finished_states(root), say)
    finally:
        held.close()


def check_space(root: Path) -> None:
    """Check that there is space for what DVC writes in the repository and in its folder of hashes.

    Raises:
        UserError: the disk of one of them is full, or nearly.
    """
    for folder in (root, Path(os.environ.get("DVC_SITE_CACHE_DIR", "/var/tmp"))):  # noqa: S108 - DVC's default
        if folder.exists() and (free := shutil.disk_usage(folder).free) < _MIN_FREE_BYTES:
            raise UserError(
                f"{folder}: {free / 1e6:.0f} MB free on this disk; a run needs {_MIN_FREE_BYTES / 1e6:.0f} MB"
            )


def environment() -> dict[str, str]:
    """Return an environment in which `python`, as stages call it, is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def repro(root: Path, arguments: Sequence[str], say: Callable[[str], object]) -> NoReturn:
    """Repair a repository, check its params, and replace this process by `dvc repro`.

    Args:
        root: the repository root.
        arguments: those of `dvc repro`.
        say: as of `repair`.

    Raises:
        UserError: the repository cannot be repaired, the disk is full, or params.yaml is wrong.
    """
    from timemachine import params

    repair(root, say)
    check_space(root)
    params.load(os.path.relpath(root / "params.yaml"))  # DVC may not end on one that no stage has checked
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    os.execve(sys.executable, command, environment())  # noqa: S606 - no shell is meant


def _mend(faults: Iterable[Fault], say: Callable[[str], object]) -> None:
    for line, mend in faults:
        mend()
        say(line)


def _refuse(root: Path) -> None:
    if not (root / ".dvc").is_dir():
        raise UserError(f"{root}: no DVC repository; go to a folder that has a .dvc")
    if not any((folder / ".git").exists() for folder in (root.absolute(), *root.absolute().parents)):
        raise UserError(f"{root}: no git repository, from which dvc.lock could be restored; run `git init`")
    for folder in (root, *(root / name for name in (".dvc", ".dvc/tmp", ".timemachine", _KEPT))):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"{folder}: read-only; repair needs to write there")
    if re.search(rb"^(<<<<<<<|>>>>>>>) ", _read(root / "dvc.lock") or b"", re.MULTILINE):
        raise UserError(f"{root / 'dvc.lock'}: holds merge marks; resolve the conflict in git first")
    for out in _outs(root):
        for folder in _pattern(out).parents:
            for path in glob.glob(str(folder), root_dir=root, include_hidden=True):  # noqa: PTH207 - as it is
                if not (root / path).resolve().is_relative_to(root.resolve()):
                    raise UserError(
                        f"{path}: leads out of the repository, where DVC would remove {out}; "
                        "replace the link by a folder"
                    )


def _pattern(out: str) -> Path:
    """Return a glob pattern of the paths that an output in dvc.yaml can stand for."""
    return Path(*(re.sub(r"\$\{[^}]*\}", "*", glob.escape(part)) for part in Path(out).parts))


def _outs(root: Path) -> Iterator[str]:
    """Yield the paths of the outputs in dvc.yaml; DVC itself says what is wrong with that file."""
    try:
        stages = (value_at(parse_yaml(_read(root / "dvc.yaml") or b""), "stages") or {}).values()
    except (ValueError, AttributeError):
        return
    for stage in stages:
        stage = value_at(stage, "do") or stage
        for kind in ("outs", "metrics", "plots"):
            for out in value_at(stage, kind) or []:
                name = out if isinstance(out, str) else next(iter(out))
                yield str(Path(value_at(stage, "wdir") or "", name))


def _leftovers(root: Path) -> Iterator[Fault]:
    """Find the temporary files that DVC leaves beside an output if it ends while it copies one."""
    for folder in {_pattern(out).parent for out in _outs(root)}:
        for name in glob.glob(f"{folder}/.*.tmp", root_dir=root):  # noqa: PTH207 - as it is
            if re.fullmatch(r"\.[\w-]{22}\.tmp", Path(name).name):
                yield f"removed the unfinished {Path(name)}", (root / name).unlink


def _stages(root: Path) -> Iterator[Fault]:
    if orphans := list(orphaned_stages(root)):
        pids = ", ".join(str(process.pid) for process in orphans)
        yield f"ended stages whose DVC is gone (PID {pids})", partial(end, orphans)


def _owners(root: Path) -> set[int] | None:
    """Return the PIDs in DVC's list of which process uses which paths; None if it is damaged."""
    try:
        locked = json.loads(_read(root / ".dvc/tmp/rwlock") or b"")
        readers = [reader for readers in locked.get("read", {}).values() for reader in readers]
        return {int(owner["pid"]) for owner in [*readers, *locked.get("write", {}).values()]}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _rwlock(root: Path) -> Iterator[Fault]:
    path, owners = root / ".dvc/tmp/rwlock", _owners(root)
    if path.exists() and owners != set():
        what = "named processes that are gone" if owners else "was damaged"
        yield f".dvc/tmp/rwlock {what}; removed it", path.unlink


def _lock(root: Path) -> Iterator[Fault]:
    """Put a dvc.lock aside if it is whole, and find one that is not.

    DVC writes the file in place and keeps the order of its stages, so a cut file is the beginning of a whole one,
    which is the copy with some stages changed or added. It is cut if it cannot be read or has a hash that is too
    short. It also is if it does not end in a newline, is the beginning of the copy, or lacks a stage of the copy,
    or if its last stage lacks an output. These can be meant (`dvc remove`), so a file that git has, or that was
    replaced once and is the same again, is whole.
    """
    path, copy, replaced = root / "dvc.lock", root / _KEPT / "dvc.lock", root / _KEPT / "dvc.lock.replaced"
    content, known = _read(path), _read(copy)
    if content == known:
        return
    if content is None:  # removed on purpose: DVC never does
        copy.unlink()
        return
    stages = _locked(content)
    if stages is not None and (
        _has_all(content, stages, known or b"") or content == _read(replaced) or _is_in_git(root)
    ):
        _write(copy, content)
        return
    committed = _git(root, "show", "HEAD:./dvc.lock")
    whole, what = None, "removed it; the stages come back from the run cache"
    for source, name in ((committed, "the last commit"), (known, "the copy kept aside")):
        if source and _locked(source) is not None:
            whole, what = source, f"put back {name}"

    def mend() -> None:
        _write(replaced, content)
        if whole is None:
            path.unlink()
        else:
            _write(path, whole)
            _write(copy, whole)

    yield f"dvc.lock was cut off; {what}", mend


def _locked(content: bytes) -> dict[str, LockedStage] | None:
    """Return the stages of a dvc.lock; None if it is damaged."""
    try:
        stages = parse_lock(content)
    except ValueError:
        return None
    hashes = [md5 for stage in stages.values() for md5 in (*stage.deps.values(), *stage.outs.values())]
    return stages if all(re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5) for md5 in hashes) else None


def _has_all(content: bytes, stages: Mapping[str, LockedStage], copy: bytes) -> bool:
    known, last = _locked(copy) or {}, list(stages)[-1:]
    return (
        content.endswith(b"\n")
        and not copy.startswith(content)
        and known.keys() <= stages.keys()
        and all(known[name].outs.keys() <= stages[name].outs.keys() for name in last if name in known)
    )


def _is_in_git(root: Path) -> bool:
    name = _git(root, "hash-object", "dvc.lock")
    return name is not None and _git(root, "cat-file", "-e", name.decode().strip()) is not None


def _git(root: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, check=False)  # noqa: S603, S607
    return done.stdout if done.returncode == 0 else None


def _run_folders(runs: Path) -> Iterator[Fault]:
    """Find what DVC leaves if it ends while it notes a run: a temporary file, or a folder without an entry."""
    for folder in runs.glob("*/*/"):
        entries = list(folder.iterdir())
        unfinished = [path for path in entries if path.suffix == ".tmp"]
        if len(unfinished) == len(entries):
            yield f"run cache: removed {folder.name}, which has no entry", partial(shutil.rmtree, folder)
        else:
            yield from ((f"run cache: removed the unfinished {path.name}", path.unlink) for path in unfinished)


def _run_entries(runs: Path) -> Iterator[Fault]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for path in runs.glob("*/*/*"):
        try:
            # DVC reads by this library; PyYAML takes 1e-05 for text.
            content = json.dumps(_hashed(YAML(typ="safe").load(path.read_bytes())), sort_keys=True)
        except (YAMLError, ValueError, TypeError, RecursionError):
            content = ""
        if hashlib.sha256(content.encode()).hexdigest() != path.name:
            yield f"run cache: removed the damaged {path.name}", path.unlink


def _hashed(value: Any) -> Any:
    """Return what DVC hashes of a value in the run cache: all but sizes and numbers of files."""
    if isinstance(value, dict):
        return {key: _hashed(item) for key, item in value.items() if key not in ("size", "nfiles")}
    return [_hashed(item) for item in value] if isinstance(value, list) else value


def _cache_files(root: Path, cache: Path) -> Iterator[Fault]:
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
    stages = _locked(_read(root / "dvc.lock") or b"") or {}
    outs = {
        root / out for stage in stages.values() for out, md5 in stage.outs.items() if md5_of(root / out) == md5
    }
    files = {file for out in outs for file in files_of(root, str(out.relative_to(root))).values()}
    return {md5_of(path): path for path in outs | files}


def _replace(path: Path, source: Path | None) -> None:
    path.unlink()  # without the file DVC runs the stage again, so it is put back if the workspace has it
    if source:
        _write(path, lock._listing(source) if source.is_dir() else source.read_bytes())
        path.chmod(0o444)


def _finished_states(root: Path) -> Iterator[Fault]:
    """Find states of trainings that are done and in dvc.lock, so that no run needs them any more."""
    done = [(path, path.read_text(errors="replace")) for path in (root / STATES).glob(f"*/{FINISHED}")]
    stages = (_locked(_read(root / "dvc.lock") or b"") or {}) if done else {}
    for path, name in done:
        if name in stages and _is_up_to_date(root, stages[name]):
            yield f"removed the states of {name}, which is finished", partial(shutil.rmtree, path.parent)


def _is_up_to_date(root: Path, stage: LockedStage) -> bool:
    params = lock.read_yaml(root / "params.yaml") if stage.params else {}
    return all(value_at(params, *key.split(".")) == value for key, value in stage.params.items()) and all(
        md5_of(root / path) == md5 for path, md5 in {**stage.deps, **stage.outs}.items()
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    from timemachine.files import write_bytes  # numpy takes a while, and most repairs write nothing

    write_bytes(path, content)
