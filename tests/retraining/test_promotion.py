import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from registered import moves, tags

from timemachine.retraining import promotion
from timemachine.retraining.promotion import Candidates, promote, restore_previous
from timemachine.tracking import registry
from timemachine.tracking.registry import Version
from timemachine.tracking.runs import KEY
from timemachine.tracking.store import Store
from timemachine.tracking.verdicts import find_verdict, open_verdicts, record_verdict

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Iterator[Store]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with open_verdicts(tmp_path, "timemachine") as store:
        yield store


def version(store: Store, name: str) -> Version:
    run = store.client.create_run(store.experiment_id, run_name=name)
    return registry.ensure_version(store, run.info.run_id, name)


def judged(val: float, champion: float | None = None, best: float | None = None) -> dict[str, Any]:
    scores = {"challenger": val, "champion": champion, "baseline": 3.0}
    return {
        **{model: score and {"val_bits_per_character": score} for model, score in scores.items()},
        "reasons": ["good"],
        "best_val": best,
        "held_out_sha256": "text",
    }


def names(store: Store) -> dict[str, str]:
    found = {alias: registry.aliased(store, alias) for alias in ("champion", "previous")}
    return {alias: one.name for alias, one in found.items() if one}


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is done."""


@contextlib.contextmanager
def killed_before(step: int) -> Iterator[None]:
    """Let a number of writes to the registry pass, and no more."""
    steps = iter(range(step))
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in (
            "set_model_version_tag",
            "set_registered_model_alias",
            "delete_registered_model_alias",
        ):
            original = getattr(MlflowClient, name)

            def counted(*arguments, original=original, **options):
                if next(steps, None) is None:
                    raise Killed
                return original(*arguments, **options)

            monkeypatch.setattr(MlflowClient, name, counted)
        with contextlib.suppress(Killed):
            yield


def test_promotions_and_a_rollback_move_the_aliases_and_are_recorded(store: Store) -> None:
    a, b = version(store, "a"), version(store, "b")
    promote(store, Candidates("state", a, None), judged(2.0))
    assert names(store) == {"champion": "a"}
    promote(store, Candidates("state", b, a), judged(1.9, champion=2.0))
    assert names(store) == {"champion": "b", "previous": "a"}
    [*_, move] = moves(store, b)
    assert move["from"] == a.number
    assert move["scores"] == {"challenger": 1.9, "champion": 2.0, "baseline": 3.0}
    report = restore_previous(store)
    assert report["champion"] == {
        "version": a.number,
        "name": "a",
        "run_id": a.run_id,
        "val_bits_per_character": 2.0,
    }
    assert names(store) == {"champion": "a"}
    assert "timemachine.rolled_back" in tags(store, b)


def test_a_promotion_killed_at_any_step_leaves_a_champion_and_is_done_by_the_next(store: Store) -> None:
    a, b = version(store, "a"), version(store, "b")
    seen = set()
    for step in range(7):
        promote(store, Candidates("state", a, None), judged(2.0))
        who = Candidates("state", b, a)
        with killed_before(step):
            promote(store, who, judged(1.9, champion=2.0))
        seen.add(names(store)["champion"])
        promote(store, who, judged(1.9, champion=2.0))
        assert names(store) == {"champion": "b", "previous": "a"}
    assert seen == {"a", "b"}


@pytest.mark.parametrize("step", range(6))
def test_a_rollback_killed_at_any_step_leaves_a_champion_that_stays(store: Store, step: int) -> None:
    a, b = version(store, "a"), version(store, "b")
    promote(store, Candidates("state", a, None), judged(2.0))
    promote(store, Candidates("state", b, a), judged(1.9, champion=2.0))
    with killed_before(step):
        restore_previous(store)
    assert names(store)["champion"] in ("a", "b")
    with contextlib.suppress(ValueError):  # nothing to roll back to: the first one came far enough
        restore_previous(store)
    assert names(store)["champion"] == "a"
    assert "timemachine.rolled_back" in tags(store, b)


def test_a_champion_carries_the_best_score_of_those_before_it_on_the_same_text(store: Store) -> None:
    a, b = version(store, "a"), version(store, "b")
    promote(store, Candidates("state", a, None), judged(1.9))
    promote(store, Candidates("state", b, a), judged(1.95, champion=1.9))
    assert promotion._kept_scores(store, b, "text") == {"val": 1.9, "own_val": 1.95}
    assert promotion._kept_scores(store, b, "another text") == {}


def test_a_challenger_of_another_state_is_refused(store: Store) -> None:
    receipt = {"state": "0123456789", "models": {"rnn/a": "key"}}
    with pytest.raises(ValueError, match="has no challenger"):
        promotion.read_candidates(store, receipt)
    a = version(store, "a")
    registry.move_alias(store, "challenger", a, reason="")
    with pytest.raises(ValueError, match="is not of the state 01234567"):
        promotion.read_candidates(store, receipt)
    store.client.set_tag(a.run_id, KEY, "key")
    assert promotion.read_candidates(store, receipt) == Candidates("0123456789", a, None)


def test_a_verdict_has_one_run_and_counts_when_it_is_brought_to_its_end(store: Store, tmp_path: Path) -> None:
    report = {"verdict": "rejected", "reasons": ["one", "two"]}
    first = record_verdict(store, "key", report, {"challenger_val": 2.0}, tmp_path)
    assert find_verdict(store, "key") is None
    assert record_verdict(store, "key", report, {"challenger_val": 2.0}, tmp_path) == first
    store.client.set_terminated(first, "FINISHED")
    assert find_verdict(store, "key") == "rejected"
    assert find_verdict(store, "other") is None
    run = store.client.get_run(first)
    assert run.data.tags["timemachine.reasons"] == "- one\n- two"
    assert run.data.metrics == {"challenger_val": 2.0}


def test_what_is_judged_anew_has_a_run_of_its_own_and_its_verdict_counts(store: Store, tmp_path: Path) -> None:
    report = {"verdict": "promoted", "when": "2001-01-01T00:00:00+00:00"}
    first = record_verdict(store, "key", report, {}, tmp_path)
    store.client.set_terminated(first, "FINISHED")
    assert record_verdict(store, "key", report, {}, tmp_path) == first  # killed before it was noted
    second = record_verdict(
        store, "key", {"verdict": "rejected", "when": "2002-02-02T00:00:00+00:00"}, {}, tmp_path
    )
    assert second != first
    store.client.set_terminated(second, "FINISHED")
    assert find_verdict(store, "key") == "rejected"
    assert store.client.get_run(first).data.tags["timemachine.verdict"] == "promoted"


def test_a_verdict_is_about_models_not_about_their_numbers(store: Store) -> None:
    a, b = version(store, "a"), version(store, "b")
    key = Candidates("state", b, a).key
    store.client.delete_registered_model(registry.MODEL_NAME)
    again_b, again_a = (registry.ensure_version(store, one.run_id, one.name) for one in (b, a))
    assert (again_b.number, again_a.number) == (a.number, b.number)
    assert Candidates("state", again_b, again_a).key == key
    assert len({key, Candidates("state", a, b).key, Candidates("state", b, None).key}) == 3
