import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import tiny_text, write_params

from timemachine.language.ngrams.config import NgramsParams
from timemachine.language.ngrams.engines import count_in_blocks
from timemachine.retraining.busy import one_at_a_time
from timemachine.retraining.history import read_rounds
from timemachine.retraining.promotion import Candidates, promote, restore_previous
from timemachine.retraining.status import read_status
from timemachine.tracking import registry, verdicts
from timemachine.tracking.live import SPOOLS
from timemachine.tracking.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(repository: Path) -> Path:
    """A repository whose pipeline has run."""
    content = yaml.safe_load((repository / "params.yaml").read_text())
    write_params(repository, content)
    return repository


def status(folder: Path, width: int = 80) -> str:
    said = read_status(folder, width)
    assert max(map(len, said.splitlines())) <= width
    return " ".join(said.split())


def version(store: Store, name: str, val: float) -> registry.Version:
    run = store.client.create_run(store.experiment_id, run_name=name)
    store.client.log_metric(run.info.run_id, "val_bits_per_character", val)
    return registry.ensure_version(store, run.info.run_id, name)


def test_before_the_first_round_the_command_that_starts_it_is_named(folder: Path) -> None:
    said = status(folder)
    assert "champion none: there is no MLflow store yet; run `timemachine retrain`" in said
    assert "waiting the last state is to be judged" in said
    assert "running nothing" in said
    assert "MB DVC's cache" in said
    assert not (folder / "mlflow.db").exists()


def test_what_the_counts_of_a_long_text_take_is_on_the_disk(folder: Path) -> None:
    p = NgramsParams(corpus="words", sequences=["a"], markov_corpus="lines", engine="duckdb")
    tokens = np.arange(100_000, dtype=np.uint32)
    with closing(count_in_blocks(tokens, [0], 1, len(tokens), p, folder / ".timemachine")) as rows:
        next(rows)
        [whole] = re.findall(r"([\d.]+) MB counts of n-grams", status(folder))
    [kept] = re.findall(r"([\d.]+) MB counts of n-grams", status(folder))
    assert float(whole) > float(kept) == 0.8  # 8 bytes a word


def test_it_says_what_waits_and_what_runs(folder: Path) -> None:
    (folder / "data/inbox").mkdir(parents=True, exist_ok=True)
    (folder / "data/inbox/new.txt").write_text(tiny_text())
    (folder / "data/inbox/README.md").write_text("about the inbox")
    (folder / SPOOLS).mkdir(parents=True)
    (folder / SPOOLS / "training.jsonl").write_text("")
    with one_at_a_time(folder):
        said = status(folder, 200)
    assert "1 text in data/inbox" in said
    assert "notes of 1 trainings for MLflow" in said
    assert "running a round: PID " in said
    assert "running nothing" in status(folder)


def test_the_champion_has_its_score_and_the_time_since_when_it_is_served(folder: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, folder / "mlflow.db")
    with verdicts.open_verdicts(folder, "timemachine") as store:
        a, b = version(store, "a", 1.9), version(store, "b", 1.8)
        report = {
            "reasons": ["good"],
            "best_val": None,
            "held_out_sha256": "text",
            "champion": None,
            "baseline": None,
        }
        scored = report | {"challenger": {"val_bits_per_character": 1.9}}
        promote(store, Candidates("state", a, None), scored)
        promote(store, Candidates("state", b, a), scored)
        for day, one in enumerate((a, b), 1):
            judged = {"verdict": "promoted", "version": one.number, "serving": one.number, "reasons": ["good"]}
            judged["when"] = f"2026-01-0{day}T03:17:00+00:00"
            verdicts.record_verdict(store, f"key {day}", judged, {}, folder)
    said = status(folder, 120)
    assert "champion version 2 (b), 1.8000 bits per character, since 2026-01-02 03:17 UTC" in said
    assert "previous version 1 (a), 1.9000 bits per character" in said
    assert "challenger none" in said
    assert "last round 2026-01-02 03:17 UTC: promoted version 2; good" in said
    with verdicts.open_verdicts(folder, "timemachine") as store:
        restored = restore_previous(store)
        verdicts.record_verdict(store, restored["key"], restored, {}, folder)
    assert f"champion version 1 (a), 1.9000 bits per character, since {restored['when'][:10]}" in status(
        folder, 120
    )
    assert [one.serving for one in read_rounds(folder, "timemachine")] == ["1", "2", "1"]


def test_a_store_that_cannot_be_read_is_one_row(folder: Path) -> None:
    (folder / "mlflow.db").write_text("no database")
    said = status(folder)
    assert "champion unknown: MLflow at sqlite:///" in said
    assert "disk" in said


def test_changed_params_and_code_wait_for_the_next_round(folder: Path) -> None:
    (folder / "work.py").write_text("changed")
    assert "changed since the last run: work.py" in status(folder)
    (folder / "dvc.lock").unlink()
    assert "dvc.lock: no such file; run `dvc repro`" in status(folder, 200)


def test_the_pending_promotion_is_named(folder: Path) -> None:
    from timemachine.retraining.round import PENDING, store_address

    (folder / PENDING).parent.mkdir(parents=True, exist_ok=True)
    pending = dict.fromkeys(["verdict", "state", "key", "when"], "x") | {"store": store_address(folder)}
    pending |= {"reasons": [], "champion": None, "baseline": {}, "challenger": {"version": "7", "run_id": "r"}}
    (folder / PENDING).write_text(json.dumps(pending))
    assert "the promotion of version 7 is to be finished" in status(folder)
