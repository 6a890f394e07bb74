"""Remove from the disk what old rounds have left: in MLflow, in DVC's cache, and in `.timemachine`."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from timemachine.pipeline import params as parameters
from timemachine.pipeline.leftovers import CacheLeftovers, cache_leftovers
from timemachine.pipeline.lock import md5_of
from timemachine.pipeline.paths import COUNTS, SPILL, STATES
from timemachine.retraining.busy import check_no_dvc, one_at_a_time, when_free
from timemachine.retraining.history import Round, read_rounds
from timemachine.tracking.address import sqlite_file, tracking_uri
from timemachine.tracking.live import SPOOLS

SERVED = Path(".timemachine/served")


def clean(
    root: Path,
    keep: int,
    say: Callable[[str], object] = print,
    *,
    dry_run: bool = False,
    wait_minutes: float = 0.0,
) -> int:
    """Remove what rounds before the last ones have left, and return the exit code: 0 or 12.

    The versions with an alias (champion, previous, challenger) stay, with the data that they were trained on. In
    DVC's cache everything stays that the workspace and the branches, tags and experiments of git need.

    Args:
        root: the repository root.
        keep: number of the last rounds whose models and data stay too.
        say: called with each line of output.
        dry_run: report what would be removed, without removing it.
        wait_minutes: time to wait for a round or a DVC that runs in the repository.

    Raises:
        UserError: the store cannot be reached, a version that stays cannot be read, or DVC failed.
    """

    def act() -> int:
        experiment = parameters.load(root / "params.yaml").publish.experiment
        with one_at_a_time(root):
            check_no_dvc(root)
            rounds = read_rounds(root, experiment)
            removed = 0
            for what, num_bytes in _clean(root, experiment, rounds, keep, dry_run):
                removed += num_bytes
                say(f"{megabytes(num_bytes):>11}  {what}")
            say(f"{megabytes(removed):>11}  {'would be' if dry_run else 'was'} removed")
        return 0

    return when_free(act, wait_minutes, say)


def _clean(
    root: Path, experiment: str, rounds: Sequence[Round], keep: int, dry_run: bool
) -> Iterator[tuple[str, int]]:
    """Yield what is removed and its size in bytes, and remove it at the end."""
    cache = CacheLeftovers(root, [], [], ())
    unserved = list[Path]()  # without a store it is not known which versions stay
    if (database := sqlite_file(tracking_uri(root))) is None or database.exists():
        from timemachine.tracking import leftovers, store

        with store.open_store(root, experiment) as opened, tempfile.TemporaryDirectory() as folder:
            judged = [(one.verdict, one.version, one.state) for one in rounds]
            found = leftovers.store_leftovers(opened, judged, keep, _published(root))
            weights = leftovers.fetch_weights(opened, found, Path(folder))
            cache = cache_leftovers(root, [str(md5_of(path)) for path in weights])
            unserved = sorted(_unserved(root, set(found.kept.values())))
            for run in found.runs:
                size = leftovers.size_of_artifacts(opened, run.info.run_id)
                yield f"MLflow: run {run.info.run_name} ({run.info.run_id[:8]})", size
            if found.versions:
                numbers = ", ".join(sorted(found.versions, key=int))
                yield f"MLflow: registered versions: {numbers}", 0
            if not dry_run:
                leftovers.remove_leftovers(opened, found)
    if cache.objects:
        yield f"DVC's cache: {len(cache.objects)} files", size_of(cache.objects)
    if cache.entries:
        yield (
            f"run cache: {len(cache.entries)} runs whose outputs are not in DVC's cache",
            size_of(cache.entries),
        )
    if not dry_run:
        cache.remove()
    from timemachine.language.ngrams.engines import spilled_by_killed

    # A state or spool that is older than the rounds that count is of a training that no round will resume. Partial
    # counts have the time when they were last needed.
    before_s = datetime.fromisoformat(rounds[-min(max(keep, 1), len(rounds))].when).timestamp() if rounds else 0.0
    old = [*_older(root / STATES, before_s), *_older(root / SPOOLS, before_s)]
    left = {str(path.relative_to(root)): [path] for path in [*old, *unserved, *spilled_by_killed(root / SPILL)]}
    if counts := _older(root / COUNTS, before_s):
        left[f"{COUNTS}: {len(counts)} files"] = counts
    for what, paths in left.items():
        yield what, size_of(paths)
        for path in () if dry_run else paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _published(root: Path) -> str | None:
    """Return the key of the state that was published last."""
    try:
        return str(json.loads((root / "data/published.json").read_bytes())["state"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _older(folder: Path, time_s: float) -> list[Path]:
    """Return the entries of a folder in which nothing was written after a time."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        entry for entry in entries if max(path.stat().st_mtime for path in [entry, *entry.rglob("*")]) < time_s
    ]


def _unserved(root: Path, run_ids: set[str]) -> Iterator[Path]:
    """Yield the downloaded versions that do not stay and that no model server uses."""
    folder = root / SERVED
    # A hidden one is being downloaded.
    found = [path for path in (folder.iterdir() if folder.is_dir() else []) if path.name[0] != "."]
    words = {word for process in psutil.process_iter(["cmdline"]) for word in process.info["cmdline"] or ()}
    for path in found:
        if path.name not in run_ids and not any(str(path) in word for word in words):
            yield path


def size_of(paths: Iterable[Path]) -> int:
    """Return the size of files, and of all files in folders, in bytes; files may go meanwhile."""
    num_bytes = 0
    for path in paths:
        walked = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        for file in [path] if path.is_file() else walked:
            with suppress(FileNotFoundError):
                num_bytes += file.lstat().st_size
    return num_bytes


def megabytes(num_bytes: int) -> str:
    """Return a size for people, such as `12.3 MB`."""
    return f"{num_bytes / 1e6:,.1f} MB"
