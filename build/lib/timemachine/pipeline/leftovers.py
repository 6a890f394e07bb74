"""Find and remove what nothing needs any more in DVC's cache and run cache."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc
from timemachine.pipeline.lock import LockedStage, cache_folder, run_of_a_stage, whole_stages
from timemachine.pipeline.repository import git


@dataclass(frozen=True)
class CacheLeftovers:
    """What nothing needs in the cache of a repository.

    Attributes:
        root: the repository root.
        objects: files of the cache.
        entries: entries of the run cache that would lack an output without these files.
        flags: arguments of `dvc gc` that remove the files.
    """

    root: Path
    objects: list[Path]
    entries: list[Path]
    flags: tuple[str, ...]

    def remove(self) -> None:
        """Remove them.

        Raises:
            UserError: DVC failed.
        """
        if self.objects:
            _gc(self.root, "--force", *self.flags)
        for entry in self.entries:
            entry.unlink(missing_ok=True)
            for folder in (entry.parent, entry.parent.parent):
                if not any(folder.iterdir()):
                    folder.rmdir()


def cache_leftovers(root: Path, models: Collection[str]) -> CacheLeftovers:
    """Find what is needed neither by the workspace, by a branch, tag or experiment of git, nor by some models.

    Of dvc.lock all outputs are needed, also those that are in git, which the run cache restores. Of a model all
    outputs of its training are needed, and what the training was made from, as the run cache records it.

    Args:
        root: the repository root.
        models: MD5 hashes of `model.safetensors` of the models.

    Raises:
        UserError: the cache is outside the repository, so that other repositories may use it, or DVC failed.
    """
    cache = cache_folder(root)
    if not cache.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{cache}: DVC's cache is outside the repository, and others may use it; run `dvc gc` there"
        )
    runs = _read_runs(cache / "runs")
    lock = root / "dvc.lock"
    locked = whole_stages(lock.read_bytes() if lock.exists() else None) or {}
    needed = {md5 for stage in locked.values() for md5 in stage.outs.values()} | _made_from(runs, models)
    flags: tuple[str, ...] = ("--workspace", "--all-branches", "--all-tags", "--all-experiments")
    if there := sorted(md5 for md5 in needed if _object(cache, md5).exists()):
        flags = (*flags, "--rev", _commit_that_names(root, there))
    said = _gc(root, "--dry", *flags)
    objects = [
        path for line in re.findall(r"^Removing (.+)$", said, re.MULTILINE) if (path := Path(line)).exists()
    ]
    gone = set(objects)
    entries = [
        path
        for path, run in runs.items()
        if any((held := _object(cache, md5)) in gone or not held.exists() for md5 in run.outs.values())
    ]
    return CacheLeftovers(root, objects, entries, flags)


def _read_runs(folder: Path) -> dict[Path, LockedStage]:
    """Return the whole entries of a run cache."""
    runs = {path: run_of_a_stage(path.read_bytes()) for path in sorted(folder.glob("*/*/*"))}
    return {path: run for path, run in runs.items() if run}


def _made_from(runs: Mapping[Path, LockedStage], models: Collection[str]) -> set[str]:
    """Return the MD5 of all outputs and inputs of the runs that lead to some files."""
    by_out: dict[str, list[LockedStage]] = {}
    for run in runs.values():
        for md5 in run.outs.values():
            by_out.setdefault(md5, []).append(run)
    found, todo = set(models), list(models)
    while todo:
        for run in by_out.get(todo.pop(), []):
            new = set(run.deps.values()) - found
            todo += new
            found |= new | set(run.outs.values())
    return found


def _object(cache: Path, md5: str) -> Path:
    return cache / "files/md5" / md5[:2] / md5[2:]


def _commit_that_names(root: Path, md5s: Collection[str]) -> str:
    """Return a commit with a `.dvc` file that names files of the cache, for `dvc gc --rev`.

    No branch has the commit, so git removes it some time later.
    """
    outs = [{"md5": md5, "hash": "md5", "path": f"needed-{md5}"} for md5 in md5s]
    blob = _git(root, "hash-object", "-w", "--stdin", content=yaml.safe_dump({"outs": outs}).encode())
    tree = _git(root, "mktree", content=f"100644 blob {blob}\tneeded.dvc\n".encode())
    # A repository may be a folder of a git repository.
    for folder in reversed(Path(_git(root, "rev-parse", "--show-prefix")).parts):
        tree = _git(root, "mktree", content=f"040000 tree {tree}\t{folder}\n".encode())
    who = ("-c", "user.name=timemachine", "-c", "user.email=timemachine@localhost")
    return _git(root, *who, "commit-tree", tree, "-m", "Files of DVC's cache that are needed")


def _git(root: Path, *arguments: str, content: bytes = b"") -> str:
    said = git(root, *arguments, content=content)
    if said is None:
        raise UserError(f"{root}: git {arguments[0]} failed, which is needed to say what `dvc gc` must keep")
    return said.strip()


def _gc(root: Path, *flags: str) -> str:
    done = dvc.run(root, "gc", *flags, capture_output=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it failed without a message"]
        raise UserError(f"dvc gc: {said[-1].removeprefix('ERROR: ')}")
    return str(done.stdout)
