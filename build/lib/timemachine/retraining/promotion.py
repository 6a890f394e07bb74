"""Judging the challenger of a published state, promoting it, and rolling back."""

import filecmp
import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timemachine.base.errors import UserError
from timemachine.pipeline.params import Params
from timemachine.retraining import gate
from timemachine.tracking import registry
from timemachine.tracking.environment import user
from timemachine.tracking.registry import Version
from timemachine.tracking.runs import KEY
from timemachine.tracking.store import Store
from timemachine.tracking.verdicts import ROLLED_BACK

_BEST = "timemachine.best_champion"


@dataclass(frozen=True)
class Candidates:
    """The versions that are compared.

    Attributes:
        state: key of the pipeline state of the challenger.
        challenger: the best model of that state.
        champion: the version that is served; None if there is none.
    """

    state: str
    challenger: Version
    champion: Version | None

    @property
    def key(self) -> str:
        """The key of their verdict."""
        # Without version numbers, which start again at 1 if the registered model is deleted.
        run_ids = [self.challenger.run_id, self.champion.run_id if self.champion else None]
        return hashlib.sha256(json.dumps([self.state, *run_ids]).encode()).hexdigest()


def read_candidates(store: Store, receipt: Mapping[str, Any]) -> Candidates:
    """Return the challenger and the champion in the registry.

    Args:
        store: an open store.
        receipt: return value of `publish_state`.

    Raises:
        UserError: there is no alias `challenger`, or it does not name a model of the published state.
    """
    challenger = registry.aliased(store, "challenger")
    if challenger is None:
        raise UserError("MLflow's registry has no challenger: the alias was removed in the meantime")
    key = store.client.get_run(challenger.run_id).data.tags.get(KEY)
    if receipt["models"].get(f"rnn/{challenger.name}") != key:
        raise UserError(
            f"the challenger, version {challenger.number}, is not of the state {receipt['state'][:8]}: another "
            "state was published in the meantime"
        )
    return Candidates(receipt["state"], challenger, registry.aliased(store, "champion"))


def judge_candidates(store: Store, candidates: Candidates, params: Params, data: Path) -> dict[str, Any] | None:
    """Score the champion and the challenger of the registry, and decide.

    If the present code cannot read the champion, its score at its promotion is used, provided that it was measured
    on the same text.

    Returns:
        The verdict with all figures as JSON content, where figures that are not finite are null; None if both
        versions are the same model.

    Raises:
        UserError: a text or the challenger's checkpoint is absent or damaged, or the champion cannot be read
            and has no score.
    """
    corpus, p = gate.held_out_corpus(params, data), params.evaluate_perplexity
    sha256 = gate.held_out_sha256(corpus)
    champion: gate.Figures | None = None
    best_val, notes = None, []
    with tempfile.TemporaryDirectory() as folder:
        challenger_folder = registry.fetch_checkpoint(store, candidates.challenger, Path(folder) / "challenger")
        challenger = gate.measure(challenger_folder, corpus, p.num_warmup, p.num_streams)
        if candidates.champion:
            champion_folder = registry.fetch_checkpoint(store, candidates.champion, Path(folder) / "champion")
            scores = _kept_scores(store, candidates.champion, sha256)
            best_val = scores.get("val")
            try:
                champion = gate.measure(champion_folder, corpus, p.num_warmup, p.num_streams)
            except UserError as error:
                # Without the advice after the semicolon, which is about files of the pipeline.
                reason = " ".join(str(error).replace(f"{champion_folder}/", "").split(";")[0].split())
                number = candidates.champion.number
                fault = f"the champion, version {number}, cannot be read by this code ({reason})"
                if "own_val" not in scores:
                    raise UserError(
                        f"{fault} and has no stored score on this held-out text; remove the alias `champion` in "
                        "MLflow to start again, or run `timemachine rollback`"
                    ) from None
                known = {gate.VAL: scores["own_val"], "num_bytes": gate.size_of(champion_folder)}
                champion = dict.fromkeys(challenger, math.nan) | known
                notes.append(f"{fault}; its score at its promotion is used")
            else:
                # The scores of one model are equal, but its files may differ in their history.
                files = ["model.safetensors", "vocabulary.json"]
                if filecmp.cmpfiles(champion_folder, challenger_folder, files, shallow=False)[0] == files:
                    return None
    baseline = gate.kneser_ney_baseline(corpus, params.ngram_models.corpora[params.compare_models.corpus])
    rolled_back = ROLLED_BACK in _tags(store, candidates.challenger)
    promoted, reasons = gate.judge(
        challenger, champion, baseline, params.retraining, best_val=best_val, rolled_back=rolled_back
    )
    serving = candidates.challenger if promoted else candidates.champion
    return {
        "verdict": "promoted" if promoted else "rejected",
        "reasons": [*reasons, *notes],
        "version": candidates.challenger.number,
        "serving": serving.number if serving else None,
        "state": candidates.state,
        "key": candidates.key,
        "who": user(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "challenger": _named(candidates.challenger) | _numbers(challenger),
        "champion": _named(candidates.champion) | _numbers(champion) if candidates.champion and champion else None,
        "best_val": best_val,
        "baseline": _numbers(baseline),
        "limits": params.retraining.model_dump(exclude={"max_hours"}),
        "held_out_sha256": sha256,
    }


def promote(store: Store, candidates: Candidates, report: Mapping[str, Any]) -> None:
    """Move the alias `previous` to the champion and `champion` to the challenger; idempotent.

    Args:
        store: an open store.
        candidates: the versions.
        report: return value of `judge_candidates`.
    """
    reason = "; ".join(report["reasons"])
    scores = {name: (report[name] or {}).get(gate.VAL) for name in ("challenger", "champion", "baseline")}
    known = [scores["challenger"], scores["champion"], report["best_val"]]
    best = {
        "val": min(val for val in known if val is not None),
        "own_val": scores["challenger"],
        "held_out_sha256": report["held_out_sha256"],
    }
    number = candidates.challenger.number
    store.client.set_model_version_tag(registry.MODEL_NAME, number, _BEST, json.dumps(best))
    if candidates.champion:
        registry.move_alias(store, "previous", candidates.champion, reason=reason, scores=scores)
    registry.move_alias(store, "champion", candidates.challenger, reason=reason, scores=scores)


def restore_previous(store: Store) -> dict[str, Any]:
    """Make the previous champion champion again, and mark the present one so that no round promotes it again.

    Returns:
        The report.

    Raises:
        UserError: there is no previous champion.
    """
    champion, previous = (registry.aliased(store, alias) for alias in ("champion", "previous"))
    if champion is None or previous is None or previous == champion:
        state = f"version {champion.number} is champion" if champion else "there is no champion"
        raise UserError(f"nothing to roll back to: {state}, and MLflow's registry has no previous one")
    kept = json.loads(_tags(store, previous).get(_BEST, "{}"))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    reason = f"version {champion.number} rolled back"
    # First, so that a kill after this line does not let the next round promote it again.
    store.client.set_model_version_tag(registry.MODEL_NAME, champion.number, ROLLED_BACK, now)
    registry.move_alias(store, "champion", previous, reason=reason)
    registry.move_alias(store, "previous", None, reason=reason)
    return {
        "verdict": "rolled back",
        "reasons": [f"version {previous.number} ({previous.name}) replaces version {champion.number}"],
        "version": previous.number,
        "serving": previous.number,
        "key": hashlib.sha256(f"{champion.number} {now}".encode()).hexdigest(),
        "who": user(),
        "when": now,
        "champion": _named(previous) | ({gate.VAL: kept["own_val"]} if "own_val" in kept else {}),
        "rolled_back": _named(champion),
    }


def _kept_scores(store: Store, champion: Version, sha256: str) -> dict[str, Any]:
    """Return the scores stored with a champion if they were measured on the same text, else nothing.

    `own_val` is its own score, `val` the best of all champions up to it.
    """
    kept: dict[str, Any] = json.loads(_tags(store, champion).get(_BEST, "{}"))
    return kept if kept.pop("held_out_sha256", None) == sha256 else {}


def _tags(store: Store, version: Version) -> dict[str, str]:
    return dict(store.client.get_model_version(registry.MODEL_NAME, version.number).tags)


def _named(version: Version) -> dict[str, Any]:
    return {"version": version.number, "name": version.name, "run_id": version.run_id}


def _numbers(figures: gate.Figures) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
