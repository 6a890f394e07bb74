import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from timemachine.retraining.history import read_rounds
from timemachine.tracking.runs import find_runs
from timemachine.tracking.store import Store
from timemachine.tracking.verdicts import KIND, OVER_TIME, open_verdicts, record_over_time, record_verdict

pytestmark = pytest.mark.slow

VAL = "val_bits_per_character"


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Iterator[Store]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with open_verdicts(tmp_path, "timemachine") as store:
        yield store


def verdict(name: str, version: str, challenger: float | None, champion: float | None, day: int) -> dict[str, Any]:
    return {
        "verdict": name,
        "version": version,
        "serving": version,
        "reasons": [f"it writes {day} per second"],
        "when": f"2026-01-{day:02}T03:00:00+00:00",
        "challenger": challenger and {VAL: challenger},
        "champion": champion and {VAL: champion},
        "baseline": {VAL: 1.9},
    }


def record(store: Store, report: dict[str, Any], root: Path) -> str:
    metrics = {f"{model}_{VAL}": report[model][VAL] for model in ("challenger", "champion") if report[model]}
    run_id = record_verdict(store, report["when"], report, metrics, root)
    store.client.set_terminated(run_id, "FINISHED")
    return run_id


def over_time(store: Store, metric: str = "champion") -> list[tuple[int, float]]:
    [run] = find_runs(store, KIND, OVER_TIME)
    return [(point.step, point.value) for point in store.client.get_metric_history(run.info.run_id, metric)]


ROUNDS = [
    verdict("promoted", "1", 1.9, None, 1),
    verdict("promoted", "2", 1.8, 1.9, 2),
    verdict("rejected", "3", 1.85, 1.8, 3),
    verdict("rolled back", "1", None, 1.9, 4),
]


@pytest.mark.parametrize(
    ("report", "name"),
    [
        (ROUNDS[0], "promoted v1: 1.900"),
        (ROUNDS[1], "promoted v2: 1.800 < 1.900"),
        (ROUNDS[2], "rejected v3: 1.850 ≥ 1.800"),
        (ROUNDS[3], "rolled back to v1"),
        (verdict("promoted", "5", 1.80001, 1.80004, 5), "promoted v5: 1.80001 < 1.80004"),
        (verdict("promoted", "6", 1.8, 1.8, 6), "promoted v6: 1.800 = 1.800"),
        (
            verdict("rejected", "7", 1.7, 1.8, 7),
            "rejected v7: 1.700 < 1.800, but it writes 7 per second",
        ),
        (verdict("rejected", "8", None, 1.8, 8), "rejected v8: it writes 8 per second"),
    ],
)
def test_a_verdict_is_named_by_its_version_and_scores(
    report: dict[str, Any], name: str, store: Store, tmp_path: Path
) -> None:
    assert store.client.get_run(record(store, report, tmp_path)).info.run_name == name


def test_mlflow_shows_how_long_a_round_took(store: Store, tmp_path: Path) -> None:
    run_id = record_verdict(store, "key", ROUNDS[0] | {"minutes": 90.0}, {}, tmp_path)
    assert store.client.get_run(run_id).info.start_time == 1767231000000  # 2026-01-01 01:30 UTC


def test_each_round_has_one_step_in_the_run_champion_over_time(store: Store, tmp_path: Path) -> None:
    for report in ROUNDS[:2]:
        record(store, report, tmp_path)
    record_over_time(store)
    assert over_time(store) == [(1, 1.9), (2, 1.8)]
    for report in ROUNDS[2:]:
        record(store, report, tmp_path)
    record_over_time(store)
    record_over_time(store)
    assert over_time(store) == [(1, 1.9), (2, 1.8), (3, 1.8), (4, 1.9)]
    assert over_time(store, "challenger") == [(1, 1.9), (2, 1.8), (3, 1.85)]


def test_a_deleted_run_champion_over_time_is_written_again(store: Store, tmp_path: Path) -> None:
    run_ids = [record(store, report, tmp_path) for report in ROUNDS]
    record_over_time(store)
    [old] = find_runs(store, KIND, OVER_TIME)
    store.client.delete_run(old.info.run_id)
    store.client.delete_run(run_ids[2])
    record_over_time(store)
    [new] = find_runs(store, KIND, OVER_TIME)
    assert new.info.run_id != old.info.run_id
    assert over_time(store) == [(1, 1.9), (2, 1.8), (3, 1.9)]


def test_a_verdict_that_is_not_finished_has_no_step_yet(store: Store, tmp_path: Path) -> None:
    run_id = record_verdict(store, "key", ROUNDS[0], {"challenger_val_bits_per_character": 1.9}, tmp_path)
    record_over_time(store)
    assert over_time(store) == []
    store.client.set_terminated(run_id, "FINISHED")
    record_over_time(store)
    assert over_time(store) == [(1, 1.9)]


def test_verdicts_of_earlier_versions_are_rounds_too(store: Store, tmp_path: Path) -> None:
    run_ids = [record(store, report, tmp_path) for report in ROUNDS]
    for run_id in run_ids:  # an earlier version had these in the report only
        store.client.delete_tag(run_id, "timemachine.version")
        store.client.delete_tag(run_id, "timemachine.serving")
        report = {"challenger": {"version": "7"}, "champion": {"version": "6"}}
        store.client.log_dict(run_id, report, "report.json")
    rounds = read_rounds(tmp_path, "timemachine")
    assert [(one.verdict, one.version, one.serving) for one in rounds] == [
        ("promoted", "7", "7"),
        ("promoted", "7", "7"),
        ("rejected", "7", "6"),
        ("rolled back", "6", "6"),
    ]
    assert [(one.challenger, one.champion) for one in rounds] == [
        (1.9, None),
        (1.8, 1.9),
        (1.85, 1.8),
        (None, 1.9),
    ]
    assert {(one.num_texts, one.minutes) for one in rounds} == {(None, None)}
    shutil.rmtree(tmp_path / "mlartifacts")  # the reports were lost
    assert [one.version for one in read_rounds(tmp_path, "timemachine")] == [""] * 4


def test_rounds_have_versions_texts_and_minutes(store: Store, tmp_path: Path) -> None:
    run_id = record(store, ROUNDS[1] | {"num_texts": 3, "minutes": 1.5}, tmp_path)
    [one] = read_rounds(tmp_path, "timemachine")
    assert (one.version, one.serving, one.num_texts, one.minutes, one.run_id) == ("2", "2", 3, 1.5, run_id)
    assert one.reason == "it writes 2 per second"


def test_without_a_store_there_are_no_rounds_and_none_is_made(tmp_path: Path) -> None:
    assert read_rounds(tmp_path, "timemachine") == []
    assert list(tmp_path.iterdir()) == []
