"""From the state that was just published to a verdict, from a verdict to the aliases, and back."""

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timemachine.base.errors import UserError
from timemachine.base.files import sha256_of
from timemachine.pipeline.params import Params
from timemachine.retraining.gate import (
    Baseline,
    Figures,
    Verdict,
    held_out_corpus,
    held_out_sha256,
    judge,
    kneser_ney_baseline,
    measure,
    size_of,
)
from timemachine.tracking import registry
from timemachine.tracking.environment import user
from timemachine.tracking.registry import Version
from timemachine.tracking.runs import KEY
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
        # No numbers of versions: they begin anew when somebody deletes the registered model.
        run_ids = [self.challenger.run_id, self.champion.run_id if self.champion else None]
        return hashlib.sha256(json.dumps([self.state, *run_ids]).encode()).hexdigest()


@dataclass(frozen=True)
class Judged:
    """A verdict with all its figures.

    Attributes:
        verdict: the decision.
        challenger: what the challenger was found to be.
        champion: what the champion was found to be, or what is known of one that cannot be read.
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
        UserError: the alias `challenger` names no model of the state.
    """
    challenger = registry.aliased(store, "challenger")
    if challenger is None:
        raise UserError("MLflow's registry has no challenger: somebody took the alias away in the meantime")
    key = store.client.get_run(challenger.run_id).data.tags.get(KEY)
    if receipt["models"].get(f"rnn/{challenger.name}") != key:
        raise UserError(
            f"the challenger, version {challenger.number}, is not of the state {receipt['state'][:8]}: another "
            "state was published in the meantime"
        )
    return Candidates(receipt["state"], challenger, registry.aliased(store, "champion"))


def judge_candidates(store: Store, who: Candidates, params: Params, data: Path) -> Judged | None:
    """Score champion and challenger afresh, as the registry holds them, and decide.

    For a champion that this code cannot read, one of another config for example, stands its score when it was
    promoted, if that was taken on the same text.

    Returns:
        The verdict; None if both are the same model under two numbers, which leaves nothing to decide.

    Raises:
        UserError: a text or the challenger's checkpoint is absent or damaged, or the champion cannot be read
            and has no score.
    """
    corpus, p = held_out_corpus(params, data), params.evaluate_perplexity
    sha256 = held_out_sha256(corpus)
    champion, best_val, notes = None, None, []
    with tempfile.TemporaryDirectory() as folder:
        challenger_folder = registry.fetch(store, who.challenger, Path(folder) / "challenger")
        challenger = measure(challenger_folder, corpus, p.num_warmup, p.num_streams)
        if who.champion:
            champion_folder = registry.fetch(store, who.champion, Path(folder) / "champion")
            scores = _kept_scores(store, who.champion, sha256)
            best_val = scores.get("val")
            try:
                champion = measure(champion_folder, corpus, p.num_warmup, p.num_streams)
            except ValueError as error:
                # What follows a semicolon is advice on the pipeline's files, which this is not.
                reason = " ".join(str(error).replace(f"{champion_folder}/", "").split(";")[0].split())
                champion, note = _unread(who.champion, champion_folder, scores, reason)
                notes.append(note)
            else:
                if _same_model(champion_folder, challenger_folder):
                    return None
    baseline = kneser_ney_baseline(corpus, params.ngram_models.corpora[params.compare_models.corpus])
    rolled_back = _ROLLED_BACK in registry.version_tags(store, who.challenger)
    verdict = judge(challenger, champion, baseline, params.retraining, best_val=best_val, rolled_back=rolled_back)
    verdict = replace(verdict, reasons=[*verdict.reasons, *notes])
    return Judged(verdict, challenger, champion, baseline, best_val, sha256)


def _same_model(one: Path, other: Path) -> bool:
    return all(
        sha256_of(one / file) == sha256_of(other / file) for file in ("model.safetensors", "vocabulary.json")
    )


def _unread(version: Version, folder: Path, scores: Mapping[str, float], reason: str) -> tuple[Figures, str]:
    """Return what is known of a champion that cannot be read, and say so.

    Raises:
        UserError: it has no score.
    """
    fault = f"the champion, version {version.number}, cannot be read by this code ({reason})"
    if "own_val" not in scores:
        raise UserError(
            f"{fault} and has no score of its promotion on this held-out text; take the alias `champion` away in "
            "MLflow to begin anew, or go back with `timemachine rollback`"
        )
    figures = Figures(scores["own_val"], math.nan, size_of(folder), math.nan)
    return figures, f"{fault}; its score when it was promoted stands for it"


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
    best = {
        "val": min(val for val in known if val is not None),
        "own_val": judged.challenger.val,
        "held_out_sha256": judged.held_out_sha256,
    }
    registry.tag_version(store, who.challenger, _BEST, json.dumps(best))
    if who.champion:
        registry.move_alias(store, "previous", who.champion, reason=reason, scores=scores)
    registry.move_alias(store, "champion", who.challenger, reason=reason, scores=scores)


def roll_back(store: Store) -> dict[str, Any]:
    """Make the previous champion champion again, and see that no round promotes the other one a second time.

    Returns:
        What was done, as a report.

    Raises:
        UserError: there is no previous champion.
    """
    champion, previous = (registry.aliased(store, alias) for alias in ("champion", "previous"))
    if champion is None or previous is None or previous == champion:
        serves = f"version {champion.number} is champion, and" if champion else "there is no champion, and"
        raise UserError(f"nothing to roll back to: {serves} MLflow's registry names no other one before it")
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


def _kept_scores(store: Store, champion: Version, sha256: str) -> dict[str, float]:
    """Return what a champion scored when it was promoted, if that was on the same text.

    `own_val` is its own score, `val` the best of all champions up to it.
    """
    tag = registry.version_tags(store, champion).get(_BEST)
    kept = json.loads(tag) if tag else {}
    if kept.get("held_out_sha256") != sha256:
        return {}
    return {name: float(kept[name]) for name in ("val", "own_val") if name in kept}


def _numbers(figures: Figures | Baseline) -> dict[str, float | int | None]:
    return {
        {"val": "val_bits_per_character", "test": "test_bits_per_character"}.get(name, name): (
            value if math.isfinite(value) else None
        )
        for name, value in asdict(figures).items()
    }
