"""Rounds end to end: real commands, DVC, SQLite and processes, on a pipeline cut down to what is judged."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rounds import Rounds
from tiny import tiny_text

from timemachine.pipeline import params
from timemachine.pipeline.paths import PACKAGED
from timemachine.retraining import promotion
from timemachine.retraining import round as one_round
from timemachine.retraining.busy import BUSY
from timemachine.retraining.history import read_rounds
from timemachine.retraining.round import FAILED, NOTHING_NEW, PROMOTED, REJECTED
from timemachine.tracking import registry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory, finished: Path, empty_store: Path) -> Rounds:
    return Rounds(tmp_path_factory.mktemp("rounds"), finished, empty_store)


@pytest.fixture(autouse=True)
def _own_code(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(rounds.folder / "src"))


class TestInOrder:
    """One repository, round after round: the tests run in this order."""

    def test_a_dry_run_says_what_would_run_and_does_nothing(self, rounds: Rounds) -> None:
        code, said = rounds.dry_run()
        assert code == PROMOTED
        assert "train_rnn@carried" in said[-1]
        assert not (rounds.folder / "data/retraining").exists()
        assert rounds.aliases() == {}

    def test_without_a_champion_there_is_nothing_to_roll_back_to(self, rounds: Rounds) -> None:
        with pytest.raises(ValueError, match=r"^nothing to roll back to: there is no champion"):
            one_round.undo_promotion(rounds.folder)

    def test_the_first_round_promotes_what_beats_counting(self, rounds: Rounds) -> None:
        assert rounds.retrain() == PROMOTED
        report = rounds.report()
        version = report["challenger"]["version"]
        assert rounds.aliases() == {"champion": version, "challenger": version}
        assert report == rounds.verdict()
        assert report["verdict"] == "promoted"
        assert report["champion"] is None
        assert report["challenger"]["val_bits_per_character"] < report["baseline"]["val_bits_per_character"]
        [run] = rounds.runs()
        assert run.info.status == "FINISHED"
        assert run.data.tags["timemachine.verdict"] == "promoted"
        assert run.data.metrics["baseline_order"] == 2
        val = report["challenger"]["val_bits_per_character"]
        assert run.info.run_name == f"promoted v{version}: {val:.3f}"
        assert rounds.over_time("champion") == rounds.over_time("challenger") == {1: val}
        [one] = read_rounds(rounds.folder, "timemachine")
        assert (one.version, one.serving, one.num_texts) == (version, version, 0)
        assert one.minutes
        # MLflow shows the duration of a run.
        assert 0.9 < (run.info.end_time - run.info.start_time) / 60000 / one.minutes < 1.5

    def test_the_same_state_is_something_new_for_a_store_that_has_no_verdict_on_it(
        self, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert one_round.is_judged(rounds.folder)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@elsewhere:5000")
        assert rounds.dry_run() == (PROMOTED, ["the last published state is to be judged"])
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        moved = (rounds.folder / "mlflow.db").rename(rounds.folder / "moved.db")
        assert not one_round.is_judged(rounds.folder)
        moved.rename(rounds.folder / "mlflow.db")

    def test_where_somebody_deleted_the_registered_model_it_is_promoted_again(self, rounds: Rounds) -> None:
        with rounds.store() as store:
            store.client.delete_registered_model(registry.MODEL_NAME)
        shutil.rmtree(rounds.folder / "data/retraining")
        assert rounds.retrain() == PROMOTED
        assert rounds.aliases() == {"champion": "1", "challenger": "1"}
        assert [run.data.tags["timemachine.verdict"] for run in rounds.runs()] == ["promoted"] * 2

    def test_nothing_new_ends_without_importing_torch_or_mlflow(self, rounds: Rounds) -> None:
        code = "import sys; from pathlib import Path; from timemachine.retraining.round import run_round; "
        code += "code = run_round(Path()); assert not {'torch', 'mlflow'} & set(sys.modules); sys.exit(code)"
        done = subprocess.run([sys.executable, "-c", code], cwd=rounds.folder, check=False)
        assert done.returncode == NOTHING_NEW

    def test_a_second_process_is_busy_and_a_lock_of_the_dead_is_taken_over(self, rounds: Rounds) -> None:
        code = "from pathlib import Path; from timemachine.retraining.busy import one_at_a_time\n"
        code += "with one_at_a_time(Path()): print('held', flush=True); input()"
        pipe = subprocess.PIPE
        holder = subprocess.Popen([sys.executable, "-c", code], cwd=rounds.folder, stdin=pipe, stdout=pipe)
        assert holder.stdout
        holder.stdout.readline()
        for arguments in (["retrain"], ["rollback"], ["retrain", "--dry-run"]):
            found, err = rounds.call(*arguments)
            assert found == BUSY
            assert len(err.splitlines()) == 1
            assert f"another round is running: PID {holder.pid} (" in err
        holder.kill()
        holder.communicate()
        assert rounds.call("retrain", "--dry-run") == (NOTHING_NEW, "")
        assert not rounds.told.exists()

    def test_a_round_killed_while_it_trains_leaves_the_champion(self, rounds: Rounds) -> None:
        champion = rounds.aliases()["champion"]
        (rounds.folder / "data/inbox/more.txt").write_text(tiny_text(1000, seed=1))
        (rounds.folder / "data/inbox/short.txt").write_text("It was.")
        code, said = rounds.dry_run()
        assert code == PROMOTED
        assert said == [
            "more.txt: accepted",
            "short.txt: rejected: it has 6 characters and 2 words of cleaned text; at least 500 and 8 are needed",
            "would run, with what depends on them: preprocess",
        ]
        process = rounds.start("retrain")
        assert process.stdout
        assert any("Running stage 'train_rnn@carried'" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert rounds.aliases()["champion"] == champion
        assert (rounds.folder / "data/accepted/more.txt").exists()

    def test_the_next_round_goes_on_and_says_when_the_push_fails(self, rounds: Rounds) -> None:
        blocked = rounds.folder / "remote"
        blocked.write_text("a file where a folder should be")
        (rounds.folder / ".dvc/config.local").write_text(
            f"[core]\n    remote = away\n['remote \"away\"']\n    url = {blocked}\n"
        )
        with pytest.raises(ValueError, match=r"^version \d+ is champion now, but dvc push --run-cache failed"):
            rounds.retrain()
        assert rounds.report()["verdict"] == "failed"
        assert rounds.aliases()["champion"] == rounds.aliases()["challenger"] != rounds.aliases()["previous"]

    def test_a_promotion_cut_off_before_its_end_is_brought_to_it_once(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        (rounds.folder / "remote").unlink()
        assert rounds.dry_run() == (PROMOTED, ["a promotion is to be finished"])
        assert rounds.retrain() == PROMOTED
        assert rounds.aliases() == before
        assert rounds.report()["pushed"] is True
        assert rounds.report()["champion"]["version"] == before["previous"]
        assert [run.data.tags["timemachine.verdict"] for run in rounds.runs()] == ["promoted"] * 3
        assert {run.info.status for run in rounds.runs()} == {"FINISHED"}
        assert (rounds.folder / "remote/runs").is_dir()
        assert rounds.dry_run() == (NOTHING_NEW, ["nothing new"])

    def test_a_useless_note_of_a_promotion_is_one_warning_and_removed(
        self, rounds: Rounds, capfd: pytest.CaptureFixture[str]
    ) -> None:
        pending = rounds.folder / one_round.PENDING
        whole = rounds.verdict()
        wrong_types = [{**whole, key: 1} for key in ("store", "reasons", "challenger", "champion")]
        contents = [{}, [], {**whole, "challenger": {"version": "1"}}, *wrong_types]
        for content in ("xx", "", *map(json.dumps, contents)):
            pending.write_text(content)
            assert one_round.read_pending(rounds.folder) is None
        assert rounds.dry_run() == (NOTHING_NEW, ["nothing new"])
        assert rounds.retrain() == NOTHING_NEW
        warning = f"timemachine: warning: {pending} is damaged; it is removed\n"
        assert capfd.readouterr().err == warning
        assert not pending.exists()
        pending.write_text(json.dumps(whole | {"store": "http://elsewhere"}))
        assert rounds.dry_run() == (NOTHING_NEW, ["nothing new"])
        pending.unlink()

    def test_rolling_back_restores_the_previous_champion_for_good(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        assert one_round.undo_promotion(rounds.folder) == PROMOTED
        assert rounds.aliases() == {"champion": before["previous"], "challenger": before["champion"]}
        assert rounds.runs()[-1].data.tags["timemachine.verdict"] == "rolled back"
        with pytest.raises(ValueError, match=r"^nothing to roll back to: version \d+ is champion"):
            one_round.undo_promotion(rounds.folder)
        receipt = json.loads((rounds.folder / "data/published.json").read_text())
        with rounds.store() as store:
            who = promotion.read_candidates(store, receipt)
            known = params.load(rounds.folder / "params.yaml")
            judged = promotion.judge_candidates(store, who, known, rounds.folder / "data")
        assert judged
        assert judged["reasons"] == ["this version was champion and has been rolled back"]

    def test_a_spoilt_challenger_is_rejected(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        rounds.change(lambda content: content["train_rnn"]["carried"].update(num_epochs=1, lr=0.0001))
        assert rounds.retrain() == REJECTED
        assert rounds.aliases()["champion"] == before["champion"]
        assert rounds.aliases()["challenger"] != before["challenger"]
        report = rounds.report()
        assert report == rounds.verdict()
        assert report["verdict"] == "rejected"
        assert len(report["reasons"]) == 2  # worse than the champion, and than counting
        assert report["challenger"]["val_bits_per_character"] > report["champion"]["val_bits_per_character"]

    def test_a_verdict_in_mlflow_is_enough_where_the_files_of_the_round_are_lost(self, rounds: Rounds) -> None:
        shutil.rmtree(rounds.folder / "data/retraining")
        assert rounds.retrain() == NOTHING_NEW
        assert "was judged already" in rounds.said[-1]
        assert rounds.dry_run()[0] == NOTHING_NEW

    def test_for_a_champion_that_cannot_be_read_stands_its_score_at_its_promotion(self, rounds: Rounds) -> None:
        before, known = rounds.verdict(), params.load(rounds.folder / "params.yaml")
        receipt = json.loads((rounds.folder / "data/published.json").read_text())
        assert before["verdict"] == "nothing new"
        with rounds.store() as store:
            who = promotion.read_candidates(store, receipt)
            run = store.client.get_run(who.champion.run_id)
            config = Path(run.info.artifact_uri.removeprefix("file://")) / "model" / PACKAGED / "config.json"
            config.write_text(json.dumps({**json.loads(config.read_text()), "old_knob": 1}))
            judged = promotion.judge_candidates(store, who, known, rounds.folder / "data")
            assert judged
            champion_val = judged["champion"]["val_bits_per_character"]
            assert champion_val == pytest.approx(run.data.metrics["val_bits_per_character"], rel=1e-6)
            assert judged["reasons"][-1] == (
                f"the champion, version {who.champion.number}, cannot be read by this code "
                "(config.json: old_knob: unknown key); its score at its promotion is used"
            )
            assert len(judged["reasons"]) == 3
            assert judged["champion"]["test_bits_per_character"] is None
            assert judged["champion"]["num_bytes"] > 0
            store.client.set_model_version_tag(
                registry.MODEL_NAME, who.champion.number, "timemachine.best_champion", "{}"
            )
            with pytest.raises(ValueError, match=r"^the champion, version \d+, .*old_knob: .* remove the alias"):
                promotion.judge_candidates(store, who, known, rounds.folder / "data")

    def test_where_no_model_could_win_a_round_ends_before_it_trains(self, rounds: Rounds) -> None:
        def compare_on(corpus: str) -> None:
            rounds.change(lambda content: content["ngram_models"]["corpora"].update(lines=2))
            rounds.change(lambda content: content["compare_models"].update(corpus=corpus))

        compare_on("lines")
        with pytest.raises(ValueError, match=r"^params\.yaml: no recipe of train_rnn trains on 'lines'"):
            rounds.retrain()
        compare_on("whole")

    def test_a_round_that_fails_says_so_in_one_line_tells_the_hook_and_leaves_the_champion(
        self, rounds: Rounds
    ) -> None:
        before = rounds.aliases()
        rounds.change(lambda content: content["train_rnn"]["carried"].update(lr=-1.0))
        code, err = rounds.call("retrain")
        assert code == FAILED
        assert len(err.splitlines()) == 1
        assert rounds.report()["verdict"] == "failed"
        assert rounds.report()["error"] in err
        assert "train_rnn.carried.lr" in err
        assert rounds.aliases() == before

    def test_a_round_ends_by_its_time_limit_if_dvc_does_not(self, rounds: Rounds) -> None:
        rounds.change(lambda content: content["train_rnn"]["carried"].update(lr=0.01))
        rounds.change(lambda content: content["retraining"].update(max_hours=1e-6))
        code, err = rounds.call("retrain")
        assert code == FAILED
        assert len(err.splitlines()) == 1
        assert "dvc status --json did not end within 1e-06 hours (retraining.max_hours)" in err
        assert rounds.report()["error"] in err


@pytest.mark.parametrize("command", [one_round.run_round, one_round.dry_run])
def test_a_duplicate_key_is_named_with_its_line(command: Any, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("compute: {}\ncompute: {}\n")
    with pytest.raises(ValueError, match=r"params\.yaml: line 2: duplicate key 'compute', first in line 1$"):
        command(tmp_path)


def test_the_help_lists_the_exit_codes() -> None:
    command = [sys.executable, "-m", "timemachine.cli", "retrain", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    said = " ".join(said.replace("│", " ").split())
    for name, code in {
        "promoted": PROMOTED,
        "failed": FAILED,
        "nothing new": NOTHING_NEW,
        "rejected": REJECTED,
        "another round": BUSY,
    }.items():
        assert f"{code} {name}" in said


@pytest.mark.parametrize("command", [one_round.run_round, one_round.dry_run, one_round.undo_promotion])
def test_outside_a_repository_nothing_is_written(command: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run this in the repository root"):
        command(tmp_path)
    assert list(tmp_path.iterdir()) == []
