"""The rounds of retraining so far, as the verdicts in MLflow record them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from timemachine.tracking.address import sqlite_file, tracking_uri


class Round(NamedTuple):
    """One round with a verdict, or a rollback.

    Attributes:
        when: time of the verdict in UTC, ISO 8601.
        verdict: `promoted`, `rejected` or `rolled back`.
        version: version of the challenger; of a rollback, the restored version; empty if it is not known.
        challenger: bits per character of the challenger on the validation part; None for a rollback.
        champion: bits per character of the champion that it was compared with; of a rollback, of the restored one.
        baseline: bits per character of the Kneser-Ney model.
        serving: the version that is champion after the round; None if there is none.
        reason: all reasons, joined by `; `.
        num_texts: number of accepted texts, which the challenger was trained on; None if it was not recorded.
        minutes: duration of the round up to the verdict; None if it was not recorded.
        run_id: ID of the verdict's run.
    """

    when: str
    verdict: str
    version: str
    challenger: float | None
    champion: float | None
    baseline: float | None
    serving: str | None
    reason: str
    num_texts: int | None
    minutes: float | None
    run_id: str


def read_rounds(root: Path, experiment: str) -> list[Round]:
    """Return the rounds that MLflow has of the models of an experiment, the oldest first.

    Without a store there are none.

    Args:
        root: the repository root, which contains the default store.
        experiment: name of the MLflow experiment of the models.

    Raises:
        UserError: the store cannot be reached or read.
    """
    if (database := sqlite_file(tracking_uri(root))) and not database.exists():
        return []
    from timemachine.tracking import verdicts  # imports MLflow, which takes seconds

    rounds = []
    with verdicts.open_verdicts(root, experiment) as store:
        for run in verdicts.find_verdicts(store):
            # Runs of earlier versions name the versions of models in their report only.
            report = {} if "timemachine.version" in run.data.tags else verdicts.read_report(store, run.info.run_id)
            rounds.append(_round(run.info.run_id, run.data.tags, run.data.metrics, report))
    return sorted(rounds, key=lambda one: one.when)


def _round(run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float], report: Mapping[str, Any]) -> Round:
    verdict, champion = tags.get("timemachine.verdict", ""), (report.get("champion") or {}).get("version")
    version = champion if verdict == "rolled back" else report.get("challenger", {}).get("version")
    reasons = tags.get("timemachine.reasons", "").splitlines()
    return Round(
        when=tags.get("timemachine.when", ""),
        verdict=verdict,
        version=tags.get("timemachine.version") or version or "",
        challenger=metrics.get("challenger_val_bits_per_character"),
        champion=metrics.get("champion_val_bits_per_character"),
        baseline=metrics.get("baseline_val_bits_per_character"),
        serving=tags.get("timemachine.serving", version if verdict == "promoted" else champion),
        reason="; ".join(reason.removeprefix("- ") for reason in reasons),
        num_texts=int(tags["timemachine.num_texts"]) if "timemachine.num_texts" in tags else None,
        minutes=float(tags["timemachine.minutes"]) if "timemachine.minutes" in tags else None,
        run_id=run_id,
    )
