"""What params and outputs alone do not say: commit, machine, times, differences to the commit, and rounds."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from timemachine.base.config import parse_yaml, read_yaml
from timemachine.base.errors import UserError
from timemachine.pipeline.repository import git
from timemachine.pipeline.times import StageTime, read_times
from timemachine.report import operator
from timemachine.report.graph import draw_graph
from timemachine.retraining.history import Round
from timemachine.tracking.environment import git_tags


class Facts(NamedTuple):
    """What a report shows beside the results.

    Attributes:
        made: when the report was made, in UTC.
        commit: the commit of the working tree; None outside a git repository.
        changed: whether files other than outputs of the pipeline differ from the commit.
        state: the key of the state that was published last; None if none was.
        machine: properties of this machine, by name.
        graph: the drawing of `dvc.yaml`; see `graph.draw_graph`. None if there is no such file.
        times: when each stage last ran on this machine, the longest first.
        summary: the headline numbers of the commit, by key.
        params: key, committed value and present value of each parameter that differs from the commit.
        rounds: the rounds of retraining, oldest first.
        chart: their chart; see `operator.chart`.
        since: the version that is champion, and when it became so; None if there is none.
        problem: why the rounds are not known; empty if they are.
        links: label and address of pages of MLflow.
    """

    made: str
    commit: str | None
    changed: bool
    state: str | None
    machine: dict[str, str]
    graph: dict[str, Any] | None
    times: list[tuple[str, StageTime]]
    summary: dict[str, Any]
    params: list[tuple[str, str, str]]
    rounds: list[Round]
    chart: dict[str, Any] | None
    since: tuple[str, str] | None
    problem: str
    links: list[tuple[str, str]]


def gather(root: Path, rounds: list[Round], problem: str, links: list[tuple[str, str]]) -> Facts:
    """Return the facts of a repository.

    Args:
        root: the repository root.
        rounds: the rounds of retraining.
        problem: why the rounds are not known.
        links: label and address of pages of MLflow. Addresses that are not of the web are left out.
    """
    tags = git_tags(root)
    content = read_yaml(root / "params.yaml")
    times = sorted(read_times(root).items(), key=lambda item: -item[1].duration_s)
    return Facts(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=tags.get("mlflow.source.git.commit"),
        changed=tags.get("timemachine.git_dirty") == "true",
        state=_state(root / "data/published.json"),
        machine=_machine(),
        graph=draw_graph(graph, content) if (graph := root / "dvc.yaml").is_file() else None,
        times=times,
        summary=_committed_summary(root),
        params=changed_params(git(root, "show", "HEAD:params.yaml"), content),
        rounds=rounds,
        chart=operator.chart(rounds),
        since=operator.serving_since(rounds),
        problem=problem,
        links=[(label, address) for label, address in links if address.startswith(("http://", "https://"))],
    )


def changed_params(committed: str | None, present: Any) -> list[tuple[str, str, str]]:
    """Return key, committed value and present value of all parameters that differ; "–" for an absent one.

    Args:
        committed: the committed params.yaml; None if there is none. One that is not YAML has no parameters.
        present: the content of the present one.
    """
    if committed is None:
        return []
    try:
        before = _flat(parse_yaml(committed))
    except UserError:
        before = {}
    now = _flat(present)
    return [
        (key, before.get(key, "–"), now.get(key, "–"))
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]


def _flat(content: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(content, dict) and content:
        flat: dict[str, str] = {}
        for key, value in content.items():
            flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: json.dumps(content, ensure_ascii=False, default=str)}


def _committed_summary(root: Path) -> dict[str, Any]:
    return _mapping(git(root, "show", "HEAD:data/reports/summary.json"))


def _state(path: Path) -> str | None:
    key = _mapping(path.read_text(errors="replace") if path.is_file() else None).get("state")
    return key if isinstance(key, str) else None


def _mapping(text: str | None) -> dict[str, Any]:
    """Return a JSON object; an empty one if the text is another thing. These facts are not worth an error."""
    try:
        content = json.loads(text or "null")
    except json.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _machine() -> dict[str, str]:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": f"{memory_bytes / 2**30:.1f} GiB",
        "python": platform.python_version(),
    }
