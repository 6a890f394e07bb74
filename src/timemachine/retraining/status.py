"""What is served, what waits, what runs, and how much the results take on the disk."""

import io
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timemachine.base.errors import UserError
from timemachine.pipeline import params as parameters
from timemachine.pipeline.lock import cache_folder, changed_since, read_lock
from timemachine.pipeline.paths import ALIASES, COUNTS, SPILL, STATES
from timemachine.pipeline.processes import describe, running_dvc
from timemachine.retraining.busy import running_rounds
from timemachine.retraining.clean import SERVED, megabytes, size_of
from timemachine.retraining.history import Round, read_rounds
from timemachine.retraining.inbox import Inbox
from timemachine.retraining.round import is_judged, read_pending, store_address
from timemachine.tracking.address import sqlite_file
from timemachine.tracking.live import SPOOLS


def read_status(root: Path, width: int) -> str:
    """Return the status of a repository as a table.

    A store that cannot be reached is named in it.

    Args:
        root: the repository root.
        width: number of columns of the terminal.

    Raises:
        UserError: params.yaml is absent or wrong.
    """
    params = parameters.load(root / "params.yaml")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = [*_served(root, params.publish.experiment), *_waiting(params, root), *_running(root), *_sizes(root)]
    before = ""
    for name, value in rows:
        table.add_row(Text(name if name != before else ""), Text(value))
        before = name
    console = Console(file=io.StringIO(), color_system=None, width=width)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _served(root: Path, experiment: str) -> Iterator[tuple[str, str]]:
    """Yield what each alias names, and the last round."""
    store = store_address(root)
    if (database := sqlite_file(store)) and not database.exists():
        yield "champion", "none: there is no MLflow store yet; run `timemachine retrain`"
        return
    try:
        from timemachine.tracking import registry
        from timemachine.tracking.store import open_store

        rounds = read_rounds(root, experiment)
        with open_store(root, experiment, alone=False) as opened:
            for alias in ALIASES:
                version = registry.aliased(opened, alias)
                if version is None:
                    yield alias, "none"
                    continue
                metrics = opened.client.get_run(version.run_id).data.metrics
                bits = metrics.get("val_bits_per_character")
                score = "" if bits is None else f", {bits:.4f} bits per character"
                since = _since(rounds, version.number) if alias == "champion" else None
                when = f", since {_time(since)}" if since else ""
                yield alias, f"version {version.number} ({version.name}){score}{when}"
    except UserError as error:
        yield "champion", f"unknown: {error}"
        return
    if rounds:
        last = rounds[-1]
        version_of = f" version {last.version}" if last.version else ""
        yield "last round", f"{_time(last.when)}: {last.verdict}{version_of}; {last.reason}"
    else:
        yield "last round", "none"


def _since(rounds: list[Round], version: str) -> str | None:
    """Return the time of the round that made a version champion; None if it is not recorded."""
    made = [one.when for one in rounds if one.serving == version and one.verdict != "rejected"]
    return made[-1] if made else None


def _time(when: str) -> str:
    return f"{when[:16].replace('T', ' ')} UTC"


def _waiting(params: parameters.Params, root: Path) -> Iterator[tuple[str, str]]:
    """Yield what the next round will do."""
    inbox, found = Inbox(params, root), []
    if texts := [path for path in inbox.entries() if path.suffix.lower() == ".txt"]:
        found.append(f"{len(texts)} {'text' if len(texts) == 1 else 'texts'} in data/inbox")
    pending = read_pending(root)
    if pending and pending["store"] == store_address(root):
        found.append(f"the promotion of version {pending['challenger']['version']} is to be finished")
    try:
        if changed := changed_since(root, read_lock(root / "dvc.lock")):
            found.append(f"changed since the last run: {changed}")
        elif not is_judged(root):
            found.append("the last state is to be judged")
    except UserError as error:
        found.append(str(error))
    if spools := [*(root / SPOOLS).glob("*.jsonl")]:
        found.append(f"notes of {len(spools)} trainings for MLflow; `timemachine publish` sends them")
    yield from (("waiting", line) for line in found or ["nothing"])
    yield "accepted", f"{inbox.num_accepted} {'text' if inbox.num_accepted == 1 else 'texts'} in data/accepted"


def _running(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the round and the DVC processes that run in the repository."""
    found = [f"a round: {describe(pid)}" for pid in running_rounds(root)]
    found += [f"DVC: {describe(pid)}" for pid in running_dvc(root)]
    yield from (("running", line) for line in found or ["nothing"])


def _sizes(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the sizes of what rounds leave on the disk."""
    cache, database = cache_folder(root), sqlite_file(store_address(root))
    places = {
        "DVC's cache": [cache / "files"],
        "run cache": [cache / "runs"],
        "artifacts of MLflow": [root / "mlartifacts"],
        "database of MLflow": [database] if database and database.exists() else [],
        "states of trainings": [root / STATES],
        "counts of n-grams": [root / COUNTS, root / SPILL],
        "models of the server": [root / SERVED],
    }
    for name, paths in places.items():
        yield "disk", f"{megabytes(size_of(paths)):>10}  {name}"
