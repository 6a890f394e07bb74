"""Rounds end to end: the real commands, DVC, SQLite and processes, on a pipeline cut down to what is judged."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import Repository
from tiny import git, tiny_text

from timemachine.retraining import round as one_round
from timemachine.tracking import registry
from timemachine.tracking.store import open_store

# Neither trained on by anybody here nor needed for a verdict.
LEFT_OUT = ("ngrams", "ngram_models", "dynamic_evaluation", "compare_models", "bptt")
MODEL = {"num_epochs": 10, "lr": 0.03, "num_hiddens": 16}


class Rounds(Repository):
    """A repository with a challenger that beats counting, and a hook that keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        graph = yaml.safe_load((folder / "dvc.yaml").read_text())
        graph["stages"] = {name: s for name, s in graph["stages"].items() if name not in LEFT_OUT}
        for kind in ("metrics", "plots"):
            graph[kind] = [
                path for path in graph[kind] if not any(name in path for name in [*LEFT_OUT, "language"])
            ]
        (folder / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
        self.change(self.make_good)
        self.told = folder / "told.json"
        self.hook = f"{sys.executable} -c \"import sys; open('told.json', 'w').write(sys.stdin.read())\""

    @staticmethod
    def make_good(content: dict[str, Any]) -> None:
        content["ngram_models"]["corpora"]["whole"] = 2
        content["train_ar"] = {"linear": content["train_ar"]["linear"]}
        content["train_rnn"] = {name: content["train_rnn"][name] for name in ("carried", "gated")}
        content["train_rnn"]["gated"] |= MODEL
        content["compare_models"]["mixtures"] = {}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        self.told.unlink(missing_ok=True)
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src"), "TIMEMACHINE_NOTIFY": self.hook}
        return subprocess.Popen(
            [sys.executable, "-m", "timemachine.cli", *arguments],
            cwd=self.folder,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def report(self) -> Any:
        return json.loads(self.told.read_text())

    def verdict(self) -> Any:
        return json.loads(one_round.verdict_path(self.folder).read_text())

    def aliases(self) -> dict[str, str]:
        with open_store(self.folder, "timemachine") as store:
            versions = {alias: registry.aliased(store, alias) for alias in ("champion", "previous", "challenger")}
        return {alias: version.number for alias, version in versions.items() if version}

    def runs(self) -> list[Any]:
        with open_store(self.folder, "timemachine-retraining") as store:
            return store.client.search_runs([store.experiment_id], order_by=["attributes.start_time"])


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Rounds:
    rounds = Rounds(tmp_path_factory.mktemp("rounds"))
    shutil.copy(empty_store, rounds.folder / "mlflow.db")
    return rounds


class TestInOrder:
    """One repository, round after round: the tests run in this order."""

    def test_a_dry_run_says_what_would_run_and_changes_nothing(self, rounds: Rounds) -> None:
        before = git(rounds.folder, "status", "--porcelain", "--ignored", "data")
        code, out, _ = rounds.call("retrain", "--dry-run")
        assert code == one_round.PROMOTED
        assert "train_rnn@gated" in out
        assert git(rounds.folder, "status", "--porcelain", "--ignored", "data") == before
        assert not rounds.told.exists()

    def test_rolling_back_without_a_champion_is_an_error_of_one_line(self, rounds: Rounds) -> None:
        code, _, err = rounds.call("rollback")
        assert code == one_round.FAILED
        assert err.splitlines()[-1].startswith("timemachine: error: nothing to roll back to: there is no champion")

    def test_the_first_round_promotes_what_beats_counting(self, rounds: Rounds) -> None:
        code, out, err = rounds.call("retrain")
        assert code == one_round.PROMOTED, out + err
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

    def test_nothing_new_ends_without_importing_torch_or_mlflow(self, rounds: Rounds) -> None:
        code = "import sys; from pathlib import Path; from timemachine.retraining.round import retrain; "
        code += "code = retrain(Path()); assert not {'torch', 'mlflow'} & set(sys.modules); sys.exit(code)"
        environment = os.environ | {"PYTHONPATH": str(rounds.folder / "src")}
        done = subprocess.run([sys.executable, "-c", code], cwd=rounds.folder, env=environment, check=False)
        assert done.returncode == one_round.NOTHING_NEW
        assert rounds.call("retrain", "--dry-run")[0] == one_round.NOTHING_NEW

    def test_a_second_process_is_busy_and_a_lock_of_the_dead_is_taken_over(self, rounds: Rounds) -> None:
        code = "from pathlib import Path; from timemachine.retraining.lock import one_at_a_time\n"
        code += "with one_at_a_time(Path()): print('held', flush=True); input()"
        pipe = subprocess.PIPE
        holder = subprocess.Popen(
            [sys.executable, "-c", code], cwd=rounds.folder, stdin=pipe, stdout=pipe, text=True
        )
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        for command in ("retrain", "rollback"):
            found, _, err = rounds.call(command)
            assert found == one_round.BUSY
            assert len(err.splitlines()) == 1
        holder.kill()
        holder.communicate()
        assert rounds.call("retrain")[0] == one_round.NOTHING_NEW
        assert not rounds.told.exists()

    def test_a_round_killed_while_it_trains_leaves_the_champion(self, rounds: Rounds) -> None:
        champion = rounds.aliases()["champion"]
        (rounds.folder / "data/inbox/more.txt").write_text(tiny_text(1000, seed=1))
        (rounds.folder / "data/inbox/short.txt").write_text("It was.")
        assert rounds.call("retrain", "--dry-run")[1].splitlines()[:2] == [
            "more.txt: accepted",
            "short.txt: rejected: it has 6 characters and 2 words of cleaned text; at least 500 and 8 are needed",
        ]
        process = rounds.start("retrain")
        assert process.stdout
        assert any("Running stage 'train_rnn@gated'" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert rounds.aliases()["champion"] == champion
        assert (rounds.folder / "data/accepted/more.txt").exists()

    def test_the_next_round_goes_on_and_says_when_the_push_fails(self, rounds: Rounds) -> None:
        blocked = rounds.folder / "remote"
        blocked.write_text("a file where a folder should be")
        rounds.dvc("remote", "add", "--default", "away", str(blocked))
        code, _, err = rounds.call("retrain")
        assert code == one_round.FAILED
        last = err.splitlines()[-1]
        assert last.startswith("timemachine: error: version")
        assert "is champion now, but dvc push --run-cache failed" in last
        assert rounds.report()["verdict"] == "failed"
        assert rounds.aliases()["champion"] == rounds.aliases()["challenger"] != rounds.aliases()["previous"]

    def test_a_promotion_cut_off_before_its_end_is_brought_to_it_once(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        (rounds.folder / "remote").unlink()
        assert rounds.call("retrain", "--dry-run")[0] == one_round.PROMOTED
        code, out, err = rounds.call("retrain")
        assert code == one_round.PROMOTED, out + err
        assert rounds.aliases() == before
        assert rounds.report()["pushed"] is True
        assert rounds.report()["champion"]["version"] == before["previous"]
        assert [run.data.tags["timemachine.verdict"] for run in rounds.runs()] == ["promoted"] * 2
        assert {run.info.status for run in rounds.runs()} == {"FINISHED"}
        assert (rounds.folder / "remote/runs").is_dir()
        assert rounds.call("retrain")[0] == one_round.NOTHING_NEW

    def test_a_spoilt_challenger_is_rejected(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        rounds.change(lambda content: content["train_rnn"]["gated"].update(num_epochs=1, lr=0.0001))
        code, out, err = rounds.call("retrain")
        assert code == one_round.REJECTED, out + err
        after = rounds.aliases()
        assert {**after, "challenger": ""} == {**before, "challenger": ""}
        assert after["challenger"] != before["challenger"]
        report = rounds.report()
        assert report["verdict"] == rounds.verdict()["verdict"] == "rejected"
        assert len(report["reasons"]) == 2  # worse than the champion, and than counting
        assert report["challenger"]["val_bits_per_character"] > report["champion"]["val_bits_per_character"]
        assert rounds.call("retrain")[0] == one_round.NOTHING_NEW

    def test_a_verdict_in_mlflow_is_enough_where_the_files_of_the_round_are_lost(self, rounds: Rounds) -> None:
        shutil.rmtree(rounds.folder / "data/retraining")
        code, out, _ = rounds.call("retrain")
        assert code == one_round.NOTHING_NEW
        assert "was judged already" in out

    def test_bad_params_and_a_failing_stage_fail_in_one_line_and_are_told(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        good = (rounds.folder / "params.yaml").read_text()
        rounds.change(lambda content: content["train_rnn"]["gated"].update(lr=-1.0))
        code, _, err = rounds.call("retrain")
        assert code == one_round.FAILED
        assert err.startswith("timemachine: error: ")
        assert "train_rnn.gated.lr" in err
        assert len(err.splitlines()) == 1
        assert rounds.report()["error"] in err
        (rounds.folder / "params.yaml").write_text(good)
        rounds.change(lambda content: content["download"].update(sha256="0" * 64))
        code, _, err = rounds.call("retrain")
        assert code == one_round.FAILED
        assert rounds.report()["verdict"] == "failed"
        assert rounds.aliases() == before
        (rounds.folder / "params.yaml").write_text(good)

    def test_rolling_back_restores_the_previous_champion_for_good(self, rounds: Rounds) -> None:
        before = rounds.aliases()
        code, out, err = rounds.call("rollback")
        assert code == one_round.PROMOTED, out + err
        after = rounds.aliases()
        assert after["champion"] == before["previous"]
        assert "previous" not in after
        assert rounds.runs()[-1].data.tags["timemachine.verdict"] == "rolled back"
        code, _, err = rounds.call("rollback")
        assert code == one_round.FAILED
        assert err.startswith("timemachine: error: nothing to roll back to: version")
        # The params of the one that was rolled back once more: it comes out of the run cache, and stays out.
        rounds.change(Rounds.make_good)
        rounds.change(lambda content: content["retraining"].update(min_characters_per_s=1.0))
        code, out, err = rounds.call("retrain")
        assert code == one_round.REJECTED, out + err
        assert rounds.report()["reasons"] == ["this version was champion and has been rolled back"]
        assert rounds.report()["challenger"]["version"] == before["champion"]
        assert rounds.aliases()["champion"] == before["previous"]


def test_the_help_lists_the_exit_codes() -> None:
    command = [sys.executable, "-m", "timemachine.cli", "retrain", "--help"]
    said = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    named = {"promoted": one_round.PROMOTED, "failed": one_round.FAILED, "nothing new": one_round.NOTHING_NEW}
    named |= {"rejected": one_round.REJECTED, "another round": one_round.BUSY}
    for name, code in named.items():
        assert f"{code} {name}" in said.replace("│", "").replace("  ", " ")
