"""Repair a repository after a killed DVC, a full disk or a power cut, without changing DVC.

One state cannot be prevented: if the disk fills before DVC writes its first hashes, DVC waits at full load until
there is space. `dvc.prepare`, called before a run, checks the space and so makes that rare.
"""

import glob
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import psutil

from timemachine.base.config import parse_yaml
from timemachine.base.errors import UserError
from timemachine.base.files import write_bytes
from timemachine.pipeline.cache import Fault, cache_files, machine_code, run_cache
from timemachine.pipeline.lock import LockedStage, cache_folder, changed_params, md5_of, value_at, whole_stages
from timemachine.pipeline.paths import STATES
from timemachine.pipeline.processes import end, orphaned_stages, running_dvc
from timemachine.pipeline.repository import git

# The file in the folder of states of a training that is done; it names the stage as DVC calls it.
FINISHED = "finished"
# What repair keeps aside: the last whole dvc.lock, the last one that it replaced, and the boot it last ran in.
_KEPT = Path(".timemachine/repair")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def repair(root: Path, say: Callable[[str], object], everything: bool = False) -> bool:
    """Mend what is damaged in a repository, and change nothing while a DVC runs in it.

    The cache is hashed only after a new boot, or where something else was wrong: a file in it is damaged only by
    a power cut, and a DVC that was killed while it wrote leaves its entries in `.dvc/tmp/rwlock`. A repair that
    is broken off starts again from the beginning.

    Args:
        root: the repository root.
        say: is called with one line for each thing that was mended.
        everything: hash the cache in any case.

    Returns:
        False if DVC runs in the repository, so that nothing was changed.

    Raises:
        UserError: the folder is not one that can be repaired; nothing was changed.
    """
    import zc.lockfile  # type: ignore[import-untyped]

    _refuse(root)
    cache = cache_folder(root)
    (root / ".dvc/tmp").mkdir(exist_ok=True)
    try:
        held = zc.lockfile.LockFile(str(root / ".dvc/tmp/lock"))  # DVC's own, by the library that it uses
    except zc.lockfile.LockError:
        say("DVC is running in this repository; nothing was repaired")
        return False
    try:
        if pids := running_dvc(root, named=lock_owners(root) or ()):
            say(f"DVC is running in this repository (PID {', '.join(map(str, pids))}); nothing was repaired")
            return False
        boot, now = root / _KEPT / "boot", _read(_BOOT) or str(psutil.boot_time()).encode()
        if faults := list(
            chain(_processes(root), _lock(root), _leftovers(root), run_cache(cache / "runs", False))
        ):
            boot.unlink(missing_ok=True)
            _mend(faults, say)
        if everything or _read(boot) != now:
            in_cache = run_cache(cache / "runs", True), cache_files(root, cache / "files/md5")
            _mend(chain(*in_cache, machine_code(root / "src")), say)
            write_bytes(boot, now)
        _mend(_finished_states(root), say)
        return True
    finally:
        held.close()


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
    if re.search(rb"^(<{7}|={7}|>{7})( |$)", _read(root / "dvc.lock") or b"", re.MULTILINE):
        raise UserError(f"{root / 'dvc.lock'}: holds merge marks; resolve the conflict in git first")
    for out in _outs(root):
        for folder in out.parents:
            for path in glob.glob(str(folder), root_dir=root, include_hidden=True):  # noqa: PTH207 - as it is
                if not (root / path).resolve().is_relative_to(root.resolve()):
                    raise UserError(
                        f"{path}: leads out of the repository, where DVC would remove {out}; "
                        "replace the link by a folder"
                    )


def _outs(root: Path) -> Iterator[Path]:
    """Yield glob patterns of the outputs in dvc.yaml; DVC itself says what is wrong with that file."""
    try:
        stages = (value_at(parse_yaml(_read(root / "dvc.yaml") or b""), "stages") or {}).values()
    except (UserError, AttributeError):
        return
    for stage in stages:
        stage = value_at(stage, "do") or stage
        for kind in ("outs", "metrics", "plots"):
            outs = value_at(stage, kind)
            for out in outs if isinstance(outs, list) else []:
                name = next(iter(out), None) if isinstance(out, dict) else out
                if isinstance(name, str):
                    path = Path(str(value_at(stage, "wdir") or ""), name)
                    yield Path(*(re.sub(r"\$\{[^}]*\}", "*", glob.escape(part)) for part in path.parts))


def _leftovers(root: Path) -> Iterator[Fault]:
    """Find the temporary files that DVC leaves beside an output if it ends while it copies one."""
    for folder in {out.parent for out in _outs(root)}:
        for name in glob.glob(f"{folder}/.*.tmp", root_dir=root):  # noqa: PTH207 - as it is
            if re.fullmatch(r"\.[\w-]{22}\.tmp", Path(name).name):
                yield f"removed the unfinished {Path(name)}", (root / name).unlink


def _processes(root: Path) -> Iterator[Fault]:
    """Find stages that outlive their DVC, and the paths that DVC notes as used by processes that are gone."""
    if orphans := list(orphaned_stages(root)):
        pids = ", ".join(str(process.pid) for process in orphans)
        yield f"ended stages whose DVC is gone (PID {pids})", partial(end, orphans)
    path, owners = root / ".dvc/tmp/rwlock", lock_owners(root)
    if path.exists() and owners != set():
        what = "named processes that are gone" if owners else "was damaged"
        yield f".dvc/tmp/rwlock {what}; removed it", path.unlink


def lock_owners(root: Path) -> set[int] | None:
    """Return the PIDs in DVC's list of which process uses which paths; None if it is damaged or absent."""
    try:
        locked = json.loads(_read(root / ".dvc/tmp/rwlock") or b"")
        readers = [reader for readers in locked.get("read", {}).values() for reader in readers]
        return {int(owner["pid"]) for owner in [*readers, *locked.get("write", {}).values()]}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _lock(root: Path) -> Iterator[Fault]:
    """Copy a whole dvc.lock, and find one that is cut.

    DVC writes the file in place and keeps the order of its stages. A cut file is therefore the beginning of a
    whole one, which is the copy with some stages changed or added. A file counts as cut if one of these holds:

    - it cannot be parsed, or one of its hashes is too short;
    - it does not end in a newline, or it is the beginning of the copy;
    - it lacks a stage of the copy, or its last stage lacks an output.

    The last two can also be intended, for example by `dvc remove`. A file that git has, or that was replaced once
    and is the same again, is therefore whole.
    """
    path, copy, replaced = root / "dvc.lock", root / _KEPT / "dvc.lock", root / _KEPT / "dvc.lock.replaced"
    content, known = _read(path), _read(copy)
    if content == known:
        return
    if content is None:  # removed on purpose: DVC never does
        copy.unlink()
        return
    stages, blob = whole_stages(content), (git(root, "hash-object", "dvc.lock") or "").strip()
    if stages is not None and (
        _has_all(content, stages, known or b"")
        or content == _read(replaced)
        or (blob and git(root, "cat-file", "-e", blob) is not None)
    ):
        write_bytes(copy, content)
        return
    committed = (git(root, "show", "HEAD:./dvc.lock") or "").encode()
    whole, what = None, "removed it; the stages come back from the run cache"
    for source, name in ((committed, "the last commit"), (known, "the copy kept aside")):
        if source and whole_stages(source) is not None:
            whole, what = source, f"put back {name}"

    def mend() -> None:
        write_bytes(replaced, content)
        if whole is None:
            path.unlink()
        else:
            write_bytes(path, whole)
            write_bytes(copy, whole)

    yield f"dvc.lock was cut off; {what}", mend


def _has_all(content: bytes, stages: Mapping[str, LockedStage], copy: bytes) -> bool:
    known, last = whole_stages(copy) or {}, list(stages)[-1:]
    return (
        content.endswith(b"\n")
        and not copy.startswith(content)
        and known.keys() <= stages.keys()
        and all(known[name].outs.keys() <= stages[name].outs.keys() for name in last if name in known)
    )


def _finished_states(root: Path) -> Iterator[Fault]:
    """Find states of trainings that are done and in dvc.lock, so that no run needs them any more."""
    for path in (root / STATES).glob(f"*/{FINISHED}"):
        name = path.read_text(errors="replace")
        stage = (whole_stages(_read(root / "dvc.lock")) or {}).get(name)
        with suppress(UserError):  # params.yaml is wrong, which is for the next run to say
            files = {**stage.deps, **stage.outs} if stage and not changed_params(root, stage.params) else {}
            if files and all(md5_of(root / file) == md5 for file, md5 in files.items()):
                yield f"removed the states of {name}, which is finished", partial(shutil.rmtree, path.parent)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
