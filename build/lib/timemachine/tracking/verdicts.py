"""Verdicts on challengers, and rollbacks: MLflow runs in an experiment of their own.

Another run of that experiment, `champion over time`, has a step for each of them.
"""

import json
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Run, RunTag
from mlflow.exceptions import MlflowException

from timemachine.tracking.environment import git_tags, user
from timemachine.tracking.runs import KEY, find_runs
from timemachine.tracking.store import Store, open_store

KIND, VERDICT = "timemachine.kind", "verdict"
# A version with this tag was champion and is not promoted again.
ROLLED_BACK = "timemachine.rolled_back"
OVER_TIME = "champion over time"
# Its run, and the step in it, of a verdict.
_STEP = "timemachine.step"
_VAL = "val_bits_per_character"
# Characters of a reason in the name of a run.
_MAX_REASON = 80
_NOTE = (
    "A step for each round of retraining that ended with a verdict, and for each rollback. `champion` (the "
    "version that is champion after the round), `challenger` and `baseline` (Kneser-Ney) are bits per character "
    "on the validation part; lower is better. `texts` is the number of accepted texts."
)


def open_verdicts(root: Path, experiment: str) -> AbstractContextManager[Store]:
    """Open the store with the experiment for the verdicts on the models of an experiment.

    Raises:
        UserError: as `open_store`.
    """
    return open_store(root, f"{experiment}-retraining", alone=False)


def find_verdicts(store: Store) -> list[Run]:
    """Return the runs of all verdicts, the oldest first."""
    return find_runs(store, KIND, VERDICT)


def find_verdict(store: Store, key: str) -> str | None:
    """Return the last finished verdict with this key, for example `promoted`; None if there is none."""
    found = [run for run in find_runs(store, KEY, key) if run.info.status == "FINISHED"]
    return found[-1].data.tags.get("timemachine.verdict") if found else None


def read_report(store: Store, run_id: str) -> dict[str, Any]:
    """Return the report of a verdict's run; empty if it is absent, for example because its folder was moved."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            content = json.loads(Path(store.client.download_artifacts(run_id, "report.json", folder)).read_bytes())
        except (MlflowException, OSError, ValueError):
            return {}
    return content if isinstance(content, dict) else {}


def record_verdict(
    store: Store, key: str, report: Mapping[str, Any], metrics: Mapping[str, float], root: Path
) -> str:
    """Write a report to MLflow and return the ID of its run, which stays open: the caller ends it.

    A run with the same key is used again if it is not finished or has the same time, so that a round that was
    killed and repeated has one run. A new judgement has a run of its own.

    Args:
        store: as `open_verdicts` yields it.
        key: key of the candidates.
        report: the report with `verdict` and `reasons`; logged as JSON, its strings and numbers also as tags.
        metrics: metrics of the run.
        root: the repository root.
    """
    client = store.client
    found = [
        run
        for run in find_runs(store, KEY, key)
        if run.info.status != "FINISHED" or run.data.tags.get("timemachine.when") == report.get("when")
    ]
    tags = {KEY: key, "mlflow.user": user()}
    run = found[-1] if found else client.create_run(store.experiment_id, _began_ms(report), tags)
    run_id = str(run.info.run_id)
    client.update_run(run_id, name=_name(report))
    reasons = "\n".join(f"- {reason}" for reason in report.get("reasons", []))
    tags = {
        **{
            f"timemachine.{name}": str(value)
            for name, value in report.items()
            if isinstance(value, str | int | float)
        },
        KIND: VERDICT,
        "timemachine.reasons": reasons,
        "mlflow.note.content": reasons,
        "mlflow.source.name": "timemachine retrain",
        **git_tags(root),
    }
    points = [Metric(name, value, run.info.start_time, 0) for name, value in metrics.items()]
    client.log_batch(run_id, points, tags=[RunTag(name, value) for name, value in tags.items()])
    client.log_text(run_id, json.dumps(report, indent=2), "report.json")
    return run_id


def _began_ms(report: Mapping[str, Any]) -> int | None:
    """Return the time at which the round of a report began, so that MLflow shows its duration."""
    if "minutes" not in report:
        return None
    began = datetime.fromisoformat(report["when"]) - timedelta(minutes=report["minutes"])
    return int(began.timestamp() * 1000)


def _name(report: Mapping[str, Any]) -> str:
    """Return the name of a verdict's run, for example `promoted v9: 1.664 < 1.782`."""
    verdict, version = report["verdict"], f"v{report.get('version', '?')}"
    if verdict == "rolled back":
        return f"{verdict} to {version}"
    val, rival = ((report.get(model) or {}).get(_VAL) for model in ("challenger", "champion"))
    reason = next(iter(report.get("reasons", [])), "")
    reason = reason if len(reason) <= _MAX_REASON else f"{reason[: _MAX_REASON - 1]}…"
    if val is None:
        return f"{verdict} {version}: {reason}"
    digits = next((n for n in (3, 4, 5) if rival in (None, val) or f"{val:.{n}f}" != f"{rival:.{n}f}"), 6)
    scores = f"{val:.{digits}f}"
    if rival is not None:
        scores += f" {'<' if val < rival else '=' if val == rival else '≥'} {rival:.{digits}f}"
    if verdict == "rejected" and (rival is None or val < rival):
        return f"{verdict} {version}: {scores}, but {reason}"
    return f"{verdict} {version}: {scores}"


def record_over_time(store: Store) -> None:
    """Give each verdict that has none a step in the run `champion over time`, which is created if absent.

    It is idempotent. The metric `champion` of a step is the score of the version that is champion after the round.
    """
    client = store.client
    found = find_runs(store, KIND, OVER_TIME)
    if not found:
        client.create_run(store.experiment_id, tags={KIND: OVER_TIME, "mlflow.user": user()}, run_name=OVER_TIME)
        found = find_runs(store, KIND, OVER_TIME)
    # Another machine may have created one at the same time; all machines keep the oldest.
    for run in found[1:]:
        client.delete_run(run.info.run_id)
    run_id = found[0].info.run_id
    verdicts = [run for run in find_verdicts(store) if run.info.status == "FINISHED"]
    # The tag names the run, so that all verdicts get their steps again after somebody deleted it.
    steps = [run.data.tags.get(_STEP, "").split() for run in verdicts]
    step = max((int(words[1]) for words in steps if words[:1] == [run_id]), default=0)
    for run, words in zip(verdicts, steps, strict=True):
        if words[:1] != [run_id]:
            step += 1
            points = [Metric(name, value, run.info.end_time, step) for name, value in _points(run).items()]
            client.log_batch(run_id, points)
            client.set_tag(run.info.run_id, _STEP, f"{run_id} {step}")
    client.set_tag(run_id, "mlflow.note.content", _NOTE)
    client.set_terminated(run_id, "FINISHED")


def _points(verdict: Run) -> dict[str, float]:
    """Return the metrics of a verdict's step."""
    metrics, tags = verdict.data.metrics, verdict.data.tags
    scores = {name: metrics.get(f"{name}_{_VAL}") for name in ("champion", "challenger", "baseline")}
    if tags.get("timemachine.verdict") == "promoted":
        scores["champion"] = scores["challenger"]
    others = {"texts": tags.get("timemachine.num_texts"), "minutes": tags.get("timemachine.minutes")}
    return {name: float(value) for name, value in (scores | others).items() if value is not None}
