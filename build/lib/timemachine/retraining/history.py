"""The rounds of retraining so far, as the verdicts in MLflow record them."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timemachine.tracking.address import sqlite_file, tracking_uri

# From this width on, in columns, the table has the time of day and whole reasons.
_WIDE = 110
# What all scores of the table are.
_UNIT = " bits per character on the validation part"
# The reasons of the gate in short, by a pattern of each.
_SHORT = {
    r"exceed the (best )?champion": "worse than champion",
    "do not beat": "worse than counting",
    "bytes; at most": "too large",
    "characters per second; at least": "too slow",
    "not a finite number": "not a number",
    "has been rolled back": "rolled back before",
    "cannot be read by this code": "champion not readable",
}


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
        state: key of the published state that was judged; empty for a rollback.
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
    state: str


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
        state=tags.get("timemachine.state", ""),
    )


def as_text(rounds: Sequence[Round], width: int) -> str:
    """Return rounds as a table, with an en dash where a value was not recorded.

    Args:
        rounds: the rounds.
        width: number of columns of the terminal; at least 80 are needed.
    """
    if not rounds:
        return "no rounds yet; `timemachine retrain` runs one\n"
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("UTC", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in ("challenger", "champion", "baseline", "texts", "min"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for one in rounds:
        when = one.when[:16].replace("T", " ") if wide else one.when[:10]
        scores = [_number(score, 4 if wide else 3) for score in (one.challenger, one.champion, one.baseline)]
        texts = "–" if one.num_texts is None else str(one.num_texts)
        judged = one.version and one.verdict != "rolled back"
        verdict = f"{one.verdict} v{one.version}" if judged else one.verdict
        reason = one.reason.replace(_UNIT, "") if wide else _in_short(one)
        cells = [when, verdict, *scores, texts, _number(one.minutes, 1), reason]
        table.add_row(*map(Text, cells))
    console = Console(file=io.StringIO(), color_system=None, width=width)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def as_csv(rounds: Sequence[Round]) -> str:
    """Return rounds as CSV with all fields and digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Round._fields)
    writer.writerows(rounds)
    return out.getvalue()


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _in_short(one: Round) -> str:
    """Return the reasons of a round in a few words; those of a promotion are in its scores."""
    if one.verdict == "rolled back":
        return re.sub(r"version (\d+).* replaces version (\d+).*", r"v\2 → v\1", one.reason)
    found = [short for pattern, short in _SHORT.items() if re.search(pattern, one.reason)]
    return ", ".join(found) or ("" if one.verdict == "promoted" else one.reason)
