"""What `timemachine clean` removes after several real rounds, and that everything else still works."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rounds import Rounds

from timemachine.language.ngrams.config import NgramsParams
from timemachine.language.ngrams.engines import count_in_blocks
from timemachine.pipeline.lock import read_lock
from timemachine.pipeline.paths import COUNTS, SPILL, STATES
from timemachine.retraining import round as one_round
from timemachine.retraining.busy import BUSY, one_at_a_time
from timemachine.retraining.clean import SERVED, clean, size_of
from timemachine.retraining.history import read_rounds
from timemachine.retraining.round import NOTHING_NEW, PROMOTED
from timemachine.tracking.run_origin import trace_run
from timemachine.tracking.server import load_alias
from timemachine.tracking.store import open_store

pytestmark = pytest.mark.slow

WEIGHTS = "data/models/rnn/carried/model.safetensors"


class Cleaned(Rounds):
    """A repository after three promotions; `md5` holds the MD5 of each version's weights."""

    def __init__(self, folder: Path, finished: Path, store: Path) -> None:
        super().__init__(folder, finished, store)
        self.change(lambda content: content["retraining"].update(margin=5.0))
        self.md5: list[str] = []
        self.run_ids: list[str] = []
        for seed in range(3):
            self.seed(seed)
            assert self.retrain() == PROMOTED, self.said
            self.md5.append(read_lock(folder / "dvc.lock")["train_rnn@carried"].outs[WEIGHTS])
            self.run_ids.append(self.report()["challenger"]["run_id"])

    def seed(self, seed: int) -> None:
        self.change(lambda content: content["train_rnn"]["carried"].update(seed=seed))

    def clean(self, keep: int, **options: Any) -> list[str]:
        said: list[str] = []
        assert clean(self.folder, keep, said.append, **options) == 0
        return said

    def in_cache(self) -> list[bool]:
        """Return for each version whether DVC's cache has its weights."""
        cache = self.folder / ".dvc/cache/files/md5"
        return [(cache / md5[:2] / md5[2:]).exists() for md5 in self.md5]

    def with_artifacts(self) -> list[bool]:
        """Return for each version whether MLflow has its artifacts."""
        return [(self.folder / "mlartifacts" / run_id / "artifacts/model").is_dir() for run_id in self.run_ids]

    def with_logged_models(self) -> list[bool]:
        """Return for each version whether MLflow lists its run among the models."""
        with open_store(self.folder, "timemachine") as store:
            found = store.client.search_logged_models([store.experiment_id])
        return [run_id in {model.source_run_id for model in found} for run_id in self.run_ids]

    def size(self) -> int:
        return size_of(self.folder / name for name in (".dvc/cache", "mlartifacts", ".timemachine"))


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory, finished: Path, empty_store: Path) -> Cleaned:
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("cleaned")
        monkeypatch.setenv("PYTHONPATH", str(folder / "src"))
        return Cleaned(folder, finished, empty_store)


@pytest.fixture(autouse=True)
def _own_code(rounds: Cleaned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(rounds.folder / "src"))


class TestInOrder:
    """One repository, step after step: the tests run in this order."""

    def test_a_dry_run_names_what_would_go_and_removes_nothing(self, rounds: Cleaned) -> None:
        for name, time_s in (("old", 0), ("new", None)):  # states of two trainings that were interrupted
            (rounds.folder / STATES / name).mkdir(parents=True)
            for path in (rounds.folder / STATES / name / "state", rounds.folder / STATES / name):
                path.exists() or path.write_bytes(bytes(1000))
                if time_s is not None:
                    os.utime(path, (time_s, time_s))
        p = NgramsParams(corpus="words", sequences=["a"], markov_corpus="lines", engine="duckdb")
        for n in (1, 2):
            list(count_in_blocks(np.arange(5, dtype=np.uint8), [0], n, 5, p, rounds.folder / ".timemachine"))
        [unigrams] = (rounds.folder / COUNTS).glob("1-*")  # last needed before all rounds
        os.utime(unigrams, (0, 0))
        for pid in (999_999_999, os.getppid()):  # a process that was killed, and one that runs
            (rounds.folder / SPILL / f"{pid}-a").mkdir(parents=True)
        for run_id in rounds.run_ids:
            (rounds.folder / SERVED / run_id).mkdir(parents=True)
        before = rounds.size()
        said = rounds.clean(1, dry_run=True)
        assert rounds.size() == before
        assert rounds.in_cache() == rounds.with_artifacts() == [True] * 3
        told = "\n".join(said)
        for run_id in rounds.run_ids:
            assert (f"MLflow: run carried ({run_id[:8]})" in told) is (run_id == rounds.run_ids[0])
        assert "MLflow: registered versions: 1" in told
        assert f"{STATES}/old" in told
        assert f"{STATES}/new" not in told
        assert f"{COUNTS}: 1 files" in told
        assert [line.split()[-1] for line in said if str(SPILL) in line] == [f"{SPILL}/999999999-a"]
        assert said[-1].endswith(" MB  would be removed")

    def test_a_running_round_is_left_alone(self, rounds: Cleaned, capfd: pytest.CaptureFixture[str]) -> None:
        with one_at_a_time(rounds.folder):
            assert clean(rounds.folder, 0, pytest.fail) == BUSY
        assert "another round is running: PID" in capfd.readouterr().err
        assert rounds.in_cache() == [True] * 3

    def test_the_champion_and_the_previous_one_stay_and_older_ones_go(self, rounds: Cleaned) -> None:
        before, size = rounds.aliases(), rounds.size()
        said = rounds.clean(1)
        assert said[-1].endswith(" MB  was removed")
        assert rounds.aliases() == before == {"champion": "3", "previous": "2", "challenger": "3"}
        assert rounds.in_cache() == rounds.with_artifacts() == rounds.with_logged_models() == [False, True, True]
        assert sorted(path.name for path in (rounds.folder / SERVED).iterdir()) == sorted(rounds.run_ids[1:])
        assert [path.name for path in (rounds.folder / STATES).iterdir()] == ["new"]
        assert [path.name[:2] for path in (rounds.folder / COUNTS).iterdir()] == ["2-"]
        assert [path.name for path in (rounds.folder / SPILL).iterdir()] == [f"{os.getppid()}-a"]
        freed = float(said[-1].split()[0].replace(",", "")) * 1e6
        assert size - rounds.size() == pytest.approx(freed, rel=0.1)
        assert [one.version for one in read_rounds(rounds.folder, "timemachine")] == ["1", "2", "3"]

    def test_a_second_time_there_is_nothing_to_remove(self, rounds: Cleaned) -> None:
        assert rounds.clean(1) == ["     0.0 MB  was removed"]

    def test_the_champion_is_served_and_traced_as_before(self, rounds: Cleaned) -> None:
        assert load_alias(rounds.folder, "timemachine", "champion").config.seed == 2
        lines = trace_run(rounds.folder, "timemachine", rounds.run_ids[2])
        assert any(re.fullmatch(r"text  .*, SHA-256 [0-9a-f]{64}", line) for line in lines)

    def test_nothing_is_new_for_the_next_round(self, rounds: Cleaned) -> None:
        assert rounds.retrain() == NOTHING_NEW

    def test_after_a_rollback_a_version_that_was_rolled_back_stays(self, rounds: Cleaned) -> None:
        assert one_round.undo_promotion(rounds.folder) == PROMOTED
        rounds.seed(3)
        assert rounds.retrain() == PROMOTED
        rounds.clean(0)
        assert rounds.aliases() == {"champion": "4", "previous": "2", "challenger": "4"}
        assert rounds.with_artifacts() == [False, True, True]

    def test_data_and_weights_of_the_previous_champion_come_from_the_cache(self, rounds: Cleaned) -> None:
        shutil.rmtree(rounds.folder / "data/text")
        rounds.seed(1)
        ran = rounds.repro()
        assert "preprocess" not in ran
        assert "train_rnn@carried" not in ran
        assert rounds.retrain() in (NOTHING_NEW, PROMOTED)

    def test_without_the_weights_of_the_champion_nothing_is_removed(self, rounds: Cleaned) -> None:
        champion = json.loads((rounds.folder / one_round.VERDICT).read_text())["champion"]["run_id"]
        shutil.rmtree(rounds.folder / "mlartifacts" / champion)
        before = rounds.size()
        with pytest.raises(ValueError, match=r"^the artifacts of version \d+ cannot be read"):
            rounds.clean(0)
        assert rounds.size() == before
