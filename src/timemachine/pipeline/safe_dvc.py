"""The `dvc` of this project's environment: DVC, but safe to kill, and at home in its repository.

It is DVC with a few of its functions changed; each function that `make_safe` calls changes one thing and says why.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from timemachine.pipeline import handover

# Longer than any living DVC that is not this one takes to write a line.
_WRITING_S = 2.0
# Variables that change in which order sums are taken, or by how many threads, which is for params to say.
_CHANGE_SUMS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "ONEDNN_", "DNNL_", "ATEN_")


def command(*arguments: str) -> list[str]:
    """Return the command that runs this DVC by this Python."""
    return [sys.executable, "-m", "timemachine.pipeline.safe_dvc", *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which `python`, as stages call it, is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this DVC in a folder; options are those of `subprocess.run`."""
    usual: dict[str, Any] = {"env": environment(), "check": False, "text": True}
    return subprocess.run(command(*arguments), cwd=folder, **(usual | options))  # noqa: S603 - no shell


def main() -> None:
    """Be DVC."""
    try:
        from dvc.cli import main as dvc
    except ModuleNotFoundError:
        sys.exit("dvc: error: DVC is not installed here; `make setup` does it")
    make_safe()
    for name in [name for name in os.environ if name.startswith(_CHANGE_SUMS)]:
        del os.environ[name]  # stages inherit the rest
    handover.announce()
    root = _repository()
    forget_the_dead(root)
    _refuse_bad_params(root, sys.argv[1:])
    sys.exit(dvc())


def _refuse_bad_params(root: Path, arguments: list[str]) -> None:
    """End in one line where DVC, which reads params.yaml before any stage can check it, may not end at all."""
    runs = "repro" in arguments[:1] or arguments[:2] in (["exp", "run"], ["experiments", "run"])
    if runs and (root / "stages/check.py").is_file():
        from timemachine.pipeline import params

        try:
            params.load(os.path.relpath(root / "params.yaml"))
        except (ValueError, OSError) as error:
            sys.exit(f"dvc: error: {error}")


def make_safe() -> None:
    """Change the DVC of this process."""
    _write_whole_files()
    _remove_nothing_outside()
    _trust_nothing_damaged()
    _take_over_states()
    _end_where_no_hash_can_be_noted()


def _write_whole_files() -> None:
    """Let files be whole, or as they were before.

    DVC writes its files in place, and its lock file, which takes it half a second here, after every stage. Whoever
    kills it in that time, or runs out of disk, is left with half a `dvc.lock`, and no command works any more. Its
    list of which process uses which paths is written likewise.
    """
    from dvc import rwlock
    from dvc.utils.serialize import _common, _yaml

    dump, edit = _common._dump_data, rwlock._edit_rwlock

    def dump_whole(path: str, data: Any, dumper: Any, fs: Any = None, **options: Any) -> None:
        dump(path, data, dumper, _WholeFiles(fs), **options)

    _common._dump_data = _yaml._dump_data = dump_whole
    rwlock._edit_rwlock = lambda folder, fs, hardlink: edit(folder, _WholeFiles(fs), hardlink)


def _remove_nothing_outside() -> None:
    """Let outputs that lie outside the repository stay.

    DVC removes the outputs of a stage before it runs, wherever a name in params.yaml leads.
    """
    from dvc.exceptions import DvcException
    from dvc.output import Output

    remove = Output.remove

    def remove_inside(out: Any, *arguments: Any, **options: Any) -> None:
        path = Path(out.fs_path)
        # A link is removed, not what it leads to; other protocols are no paths.
        inside = (path.parent.resolve() / path.name).is_relative_to(Path(out.repo.root_dir).resolve())
        if out.protocol == "local" and not inside:
            raise DvcException(f"{out.fs_path} lies outside the repository; it stays")
        remove(out, *arguments, **options)

    Output.remove = remove_inside


def _trust_nothing_damaged() -> None:
    """Let what is damaged in the cache be as good as absent, so that the stage runs again.

    DVC takes a cached file that is read-only for whole, also one that a power cut left empty. Its cache of runs
    has a folder for each set of dependencies: whoever ends DVC, or its disk, while it makes the first entry of one
    leaves a folder in which DVC finds none, and stops for ever; a damaged entry stops it likewise.
    """
    from dvc.exceptions import DvcException
    from dvc.stage import cache as run_cache
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.db.local import LocalHashFileDB

    load_run = run_cache.StageCache._load_cache

    def load_whole_run(runs: Any, key: str, name: str) -> Any:
        with suppress(DvcException, RecursionError):
            run = load_run(runs, key, name)
            if run is None or run_cache._get_cache_hash(run) == name:
                return run
        # It is damaged, and as long as it has the name, DVC writes no whole one.
        Path(runs._get_cache_path(key, name)).unlink(missing_ok=True)
        return None

    def newest_whole_run(runs: Any, stage: Any) -> Any:
        key = run_cache._get_stage_hash(stage)
        entries = Path(runs._get_cache_dir(key)).glob("[!.]*")  # a temporary file has a dot
        newest_first = sorted(entries, key=lambda entry: entry.stat().st_mtime, reverse=True)
        return next(filter(None, (runs._load_cache(key, entry.name) for entry in newest_first)), None)

    run_cache.StageCache._load_cache, run_cache.StageCache._load = load_whole_run, newest_whole_run
    # This one hashes a file, once as long as it does not change.
    LocalHashFileDB.check = HashFileDB.check  # type: ignore[method-assign]


def _take_over_states() -> None:
    """File what stages hand over: the results are on the disk, then in the lock, then the states go."""
    from dvc.dvcfile import Lockfile
    from dvc.stage import Stage
    from dvc.stage import run as stage_run

    prepare, reproduce, dump_stages = stage_run.prepare_kwargs, Stage.reproduce, Lockfile.dump_stages
    roots: dict[str, str] = {}

    def file(stage: Any) -> None:
        handover.filed(Path(roots.get(stage.addressing, stage.repo.root_dir)), stage.addressing)

    def prepare_and_remember(stage: Any, run_env: Any = None) -> Any:
        options = prepare(stage, run_env)
        roots[stage.addressing] = options["env"]["DVC_ROOT"]  # of an experiment elsewhere: the real repository
        return options

    def dump_durably(lock: Any, stages: Any, **options: Any) -> None:
        os.sync()  # else a power cut could leave a lock, which is durable, without the results that it names
        dump_stages(lock, stages, **options)
        for stage in stages:
            file(stage)

    def reproduce_or_file(stage: Any, **options: Any) -> Any:
        done = reproduce(stage, **options)
        if done is None:  # it is in the lock; perhaps the one who wrote it was killed before this
            file(stage)
        return done

    stage_run.prepare_kwargs = prepare_and_remember
    Stage.reproduce, Lockfile.dump_stages = reproduce_or_file, dump_durably


def _end_where_no_hash_can_be_noted() -> None:
    """End where the database of hashes cannot be written to; DVC tries without end and without a word."""
    import diskcache
    from dvc.exceptions import DvcException

    transact = diskcache.Cache._transact

    @contextmanager
    def transact_or_end(cache: Any, retry: bool = False, filename: str | None = None) -> Iterator[Any]:
        with ExitStack() as stack:
            try:
                entered = stack.enter_context(transact(cache, False, filename))  # waits for others as it is told
            except diskcache.Timeout as error:
                raise DvcException(f"{cache.directory} cannot be written to: {error.__context__}") from None
            yield entered

    diskcache.Cache._transact = transact_or_end


class _WholeFiles:
    """One of DVC's file systems, whose files are new and whole, or as they were.

    Args:
        fs: a file system of this machine; None for Python's own `open`.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    @contextmanager
    def open(self, path: str, mode: str = "r", **options: Any) -> Iterator[IO[str]]:
        """Open a text file as `open` does."""
        if not mode.startswith("w"):
            with (self._fs.open if self._fs else open)(path, mode, **options) as unchanged:
                yield unchanged
            return
        from timemachine.base.files import replacing  # numpy takes a while, and most commands write nothing

        with replacing(os.path.realpath(path)) as temporary, temporary.open(mode, **options) as file:
            yield file


def _repository() -> Path:
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def forget_the_dead(root: Path) -> None:
    """Take away what a DVC that was killed has locked, as its own message advises.

    DVC writes into a file which process uses which paths. It passes over processes that are gone, but not over
    one that has had its number since then, a restart of the machine for example, nor over a file that it was
    about to write when it was killed. Whoever is not called DVC is no DVC here.

    Args:
        root: the repository root.
    """
    path = root / ".dvc/tmp/rwlock"
    deadline_s = time.monotonic() + _WRITING_S
    while True:
        try:
            locked = json.loads(path.read_bytes())
            owners = [
                *locked.get("write", {}).values(),
                *(owner for readers in locked.get("read", {}).values() for owner in readers),
            ]
            if any(_is_dvc(int(owner["pid"])) for owner in owners):
                return
            break
        except OSError:
            return  # there is none; or DVC says itself what is wrong with it
        except (ValueError, KeyError, TypeError, AttributeError):
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
    with suppress(OSError):  # DVC says itself what it may not write to
        path.unlink()


def _is_dvc(pid: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        names = {Path(word).name for word in process.cmdline()}
        return process.status() != psutil.STATUS_ZOMBIE and not names.isdisjoint(handover.DVC)
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main()
