"""Verdicts on challengers, and rollbacks, as runs of an MLflow experiment of their own."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, RunTag

from timemachine.tracking.environment import git_tags, user
from timemachine.tracking.runs import KEY, find_runs
from timemachine.tracking.store import Store, open_store


def open_verdicts(root: Path, experiment: str) -> AbstractContextManager[Store]:
    """Open the store with the experiment for the verdicts on the models of an experiment.

    Raises:
        UserError: as `open_store`.
    """
    return open_store(root, f"{experiment}-retraining", alone=False)


def find_verdict(store: Store, key: str) -> str | None:
    """Return the last finished verdict with this key, for example `promoted`; None if there is none."""
    found = [run for run in find_runs(store, KEY, key) if run.info.status == "FINISHED"]
    return found[-1].data.tags.get("timemachine.verdict") if found else None


def record(store: Store, key: str, report: Mapping[str, Any], metrics: Mapping[str, float], root: Path) -> str:
    """Write a report to MLflow and return the ID of its run, which stays open until `finish`.

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
    run = found[-1] if found else client.create_run(store.experiment_id, tags={KEY: key, "mlflow.user": user()})
    run_id = str(run.info.run_id)
    client.update_run(run_id, name=f"{report['verdict']} {key[:8]}")
    reasons = "\n".join(f"- {reason}" for reason in report.get("reasons", []))
    tags = {
        **{f"timemachine.{name}": str(value) for name, value in report.items() if isinstance(value, str | int)},
        "timemachine.kind": "verdict",
        "timemachine.reasons": reasons,
        "mlflow.note.content": reasons,
        "mlflow.source.name": "timemachine retrain",
        **git_tags(root),
    }
    points = [Metric(name, value, run.info.start_time, 0) for name, value in metrics.items()]
    client.log_batch(run_id, metrics=points, tags=[RunTag(name, value) for name, value in tags.items()])
    client.log_text(run_id, json.dumps(report, indent=2), "report.json")
    return run_id


def finish(store: Store, run_id: str) -> None:
    """Mark the run of a verdict as finished."""
    store.client.set_terminated(run_id, "FINISHED")
