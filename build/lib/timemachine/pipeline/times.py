"""When each stage last ran, and for how long: notes for people, not outputs, as they differ from run to run."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from timemachine.base.files import write_json

TIMES = Path(".timemachine/times")


class StageTime(NamedTuple):
    """When a stage last ran to its end.

    Attributes:
        started: the time in UTC, ISO 8601 with seconds.
        duration_s: seconds, with the start of Python and the imports.
    """

    started: str
    duration_s: float


@contextmanager
def recorded(root: Path, name: str, started_s: float) -> Iterator[None]:
    """Write when a stage ran if the block succeeds.

    Args:
        root: the folder in which DVC runs: the repository, or the temporary copy of an experiment.
        name: of the stage, for example `train_rnn@lstm`.
        started_s: when its process started, in seconds since the epoch.
    """
    yield
    started = datetime.fromtimestamp(started_s, UTC).isoformat(timespec="seconds")
    content = StageTime(started, round(time.time() - started_s, 3))
    write_json(root / TIMES / f"{name}.json", content._asdict())


def read_times(root: Path) -> dict[str, StageTime]:
    """Return when each stage last ran on this machine, by the name of the stage; unreadable notes are left out.

    Stages that DVC took from its cache have not run, and stages that are no longer in `dvc.yaml` may be included.
    """
    times = {}
    for path in sorted((root / TIMES).glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            times[path.stem] = StageTime(str(content["started"]), float(content["duration_s"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return times
