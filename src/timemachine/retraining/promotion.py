"""From the state that was just published to a verdict, from a verdict to the aliases, and back."""

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timemachine.files import sha256_of
from timemachine.params import Params
from timemachine.retraining.gate import (
    Baseline,
    Figures,
    Verdict,
    held_out_corpus,
    held_out_sha256,
    judge,
    kneser_ney_baseline,
    measure,
)
from timemachine.tracking import registry
from timemachine.tracking.environment import user
from timemachine.tracking.registry import Version
from timemachine.tracking.store import Store

_BEST, _ROLLED_BACK = "timemachine.best_champion", "timemachine.rolled_back"


@dataclass(frozen=True)
class Candidates:
    """Who is to be judged.

    Attributes:
        state: key of the pipeline state that the challenger is of.
        challenger: the best model of that state.
        champion: who is served; None in a first round.
    """

    state: str
    challenger: Version
    champion: Version | None

    @property
    def key(self) -> str:
        """What a verdict on them is found again by."""
        numbers = [self.challenger.number, self.champion.number if self.champion else None]
        return hashlib.sha256(json.dumps([self.state, *numbers]).encode()).hexdigest()


@dataclass(frozen=True)
class Judged:
    """A verdict with all its figures.

    Attributes:
        verdict: the decision.
        challenger: what the challenger was found to be.
        champion: what the champion was found to be.
        baseline: what the challenger had to beat.
        best_val: bits per character on the validation part of the best of the champions up to now.
        held_out_sha256: hash of the text that all were scored on.
    """

    verdict: Verdict
    challenger: Figures
    champion: Figures | None
    baseline: Baseline
    best_val: float | None
    held_out_sha256: str


def candidates(store: Store, receipt: Mapping[str, Any]) -> Candidates:
    """Return whom the registry names.

    Args:
        store: an open store.
        receipt: what publishing the state returned.

    Raises:
        ValueError: the alias `challenger` names no model of the state.
    """
    challenger = registry.aliased(store, "challenger")
    if challenger is None:
        raise ValueError("MLflow's registry has no challenger; `timemachine publish` makes one")
    key = store.client.get_run(challenger.run_id).data.tags.get("timemachine.key")
    if receipt["models"].get(f"rnn/{challenger.name}") != key:
        raise ValueError(
            f"the challenger, version {challenger.number}, is not of the state {receipt['state'][:8]}: another "
            "state was published in the meantime"
        )
    return Candidates(receipt["state"], challenger, registry.aliased(store, "champion"))


def judge_candidates(store: Store, who: Candidates, params: Params, data: Path) -> Judged | None:
    """Score champion and challenger afresh, as the registry holds them, and decide.

    Returns:
        The verdict; None if both are the same model under two numbers, which leaves nothing to decide.

    Raises:
        ValueError: a text or a checkpoint is absent or damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        challenger_folder = registry.fetch(store, who.challenger, Path(folder) / "challenger")
        champion_folder = registry.fetch(store, who.champion, Path(folder) / "champion") if who.champion else None
        if champion_folder and all(
            sha256_of(champion_folder / file) == sha256_of(challenger_folder / file)
            for file in ("model.safetensors", "vocabulary.json")
        ):
            return None
        corpus, p = held_out_corpus(params, data), params.evaluate_perplexity
        challenger = measure(challenger_folder, corpus, p.num_warmup, p.num_streams)
        champion = measure(champion_folder, corpus, p.num_warmup, p.num_streams) if champion_folder else None
    sha256 = held_out_sha256(corpus)
    baseline = kneser_ney_baseline(corpus, params.ngram_models.corpora[params.compare_models.corpus])
    best_val = _best_val(store, who.champion, sha256) if who.champion else None
    rolled_back = _ROLLED_BACK in registry.version_tags(store, who.challenger)
    verdict = judge(challenger, champion, baseline, params.retraining, best_val=best_val, rolled_back=rolled_back)
    return Judged(verdict, challenger, champion, baseline, best_val, sha256)


def report_of(who: Candidates, judged: Judged, params: Params) -> dict[str, Any]:
    """Return a verdict as JSON: every figure, and null for what is no number."""

    def model(version: Version, figures: Figures) -> dict[str, Any]:
        return {"version": version.number, "name": version.name, "run_id": version.run_id, **_numbers(figures)}

    return {
        "verdict": "promoted" if judged.verdict.promote else "rejected",
        "reasons": list(judged.verdict.reasons),
        "state": who.state,
        "key": who.key,
        "who": user(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "challenger": model(who.challenger, judged.challenger),
        "champion": model(who.champion, judged.champion) if who.champion and judged.champion else None,
        "best_val": judged.best_val,
        "baseline": _numbers(judged.baseline),
        "limits": params.retraining.model_dump(),
        "held_out_sha256": judged.held_out_sha256,
    }


def metrics_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a report that are numbers, under names for MLflow."""
    return {
        f"{model}_{name}": float(value)
        for model in ("challenger", "champion", "baseline")
        for name, value in (report[model] or {}).items()
        if isinstance(value, int | float)
    }


def promote(store: Store, who: Candidates, judged: Judged) -> None:
    """Let `previous` name the champion and `champion` the challenger; done twice it is done once."""
    reason = "; ".join(judged.verdict.reasons)
    scores = {
        "challenger": judged.challenger.val,
        "champion": judged.champion.val if judged.champion else None,
        "baseline": judged.baseline.val,
    }
    known = [scores["challenger"], scores["champion"], judged.best_val]
    best = {"val": min(val for val in known if val is not None), "held_out_sha256": judged.held_out_sha256}
    registry.tag_version(store, who.challenger, _BEST, json.dumps(best))
    if who.champion:
        registry.move_alias(store, "previous", who.champion, reason=reason, scores=scores)
    registry.move_alias(store, "champion", who.challenger, reason=reason, scores=scores)


def roll_back(store: Store) -> dict[str, Any]:
    """Make the previous champion champion again, and see that no round promotes the other one a second time.

    Returns:
        What was done, as a report.

    Raises:
        ValueError: there is no previous champion.
    """
    champion, previous = (registry.aliased(store, alias) for alias in ("champion", "previous"))
    if champion is None or previous is None or previous == champion:
        serves = f"version {champion.number} is champion, and" if champion else "there is no champion, and"
        raise ValueError(f"nothing to roll back to: {serves} MLflow's registry names no other one before it")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    reason = f"version {champion.number} rolled back"
    # First of all: whatever happens next, it is not promoted again.
    registry.tag_version(store, champion, _ROLLED_BACK, now)
    registry.move_alias(store, "champion", previous, reason=reason, scores={})
    registry.remove_alias(store, "previous", reason=reason)
    return {
        "verdict": "rolled back",
        "reasons": [f"version {previous.number} ({previous.name}) takes the place of version {champion.number}"],
        "key": hashlib.sha256(f"{champion.number} {now}".encode()).hexdigest(),
        "who": user(),
        "when": now,
        "champion": {"version": previous.number, "name": previous.name, "run_id": previous.run_id},
        "rolled_back": {"version": champion.number, "name": champion.name, "run_id": champion.run_id},
    }


def _best_val(store: Store, champion: Version, sha256: str) -> float | None:
    """Return the best score of the champions up to this one, if it was taken on the same text."""
    tag = registry.version_tags(store, champion).get(_BEST)
    best = json.loads(tag) if tag else {}
    return float(best["val"]) if best.get("held_out_sha256") == sha256 else None


def _numbers(figures: Figures | Baseline) -> dict[str, float | int | None]:
    return {
        {"val": "val_bits_per_character", "test": "test_bits_per_character"}.get(name, name): (
            value if math.isfinite(value) else None
        )
        for name, value in asdict(figures).items()
    }
