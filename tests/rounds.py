"""A repository for rounds of retraining: real commands, DVC, SQLite and processes, on a small pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from repository import Repository

from timemachine.retraining import round as one_round
from timemachine.tracking import registry, runs, verdicts
from timemachine.tracking.store import Store

# Of the others a finished pipeline's files are taken.
STAGES = ("preprocess", "train_rnn", "evaluate_perplexity", "compare_models", "report", "publish")


class Rounds(Repository):
    """A repository with a model that beats counting, and a hook that keeps what it is told."""

    def __init__(self, folder: Path, finished: Path, store: Path) -> None:
        super().__init__(folder)
        shutil.copytree(finished / "data", folder / "data", dirs_exist_ok=True)
        shutil.copy(store, folder / "mlflow.db")
        stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
        graph = {"stages": {name: stages[name] for name in STAGES}}
        (folder / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
        self.change(self.make_good)
        self.told = folder / "told.json"
        self.hook = f"{sys.executable} -c \"import sys; open('told.json', 'w').write(sys.stdin.read())\""
        self.said: list[str] = []

    @staticmethod
    def make_good(content: dict[str, Any]) -> None:
        """Have one model, which is enough."""
        good = {"corpus": "whole", "num_train": None, "num_hiddens": 16, "num_epochs": 5, "optimizer": "adam"}
        content["train_rnn"] = {"carried": content["train_rnn"]["carried"] | good | {"lr": 0.01}}
        content["ngram_models"]["corpora"]["whole"] = 2
        content["bptt"]["corpus"] = "whole"
        content["dynamic_evaluation"]["models"] = []
        content["context_mixing_networks"] = {}
        content["compare_models"]["mixtures"] = {}

    def retrain(self) -> int:
        """Do a round in this process, which has imported already what takes seconds."""
        self.told.unlink(missing_ok=True)
        self.said.clear()
        return one_round.run_round(self.folder, self.hook, self.said.append)

    def dry_run(self) -> tuple[int, list[str]]:
        said: list[str] = []
        return one_round.dry_run(self.folder, said.append), said

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command as a scheduler would."""
        self.told.unlink(missing_ok=True)
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-m", "timemachine.cli", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "TIMEMACHINE_NOTIFY": self.hook},
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code of a command and what it says on standard error."""
        process = self.start(*arguments)
        _, err = process.communicate(timeout=120)
        return process.returncode, err

    def report(self) -> Any:
        return json.loads(self.told.read_text())

    def verdict(self) -> Any:
        return json.loads((self.folder / one_round.VERDICT).read_text())

    def store(self) -> Any:
        return verdicts.open_verdicts(self.folder, "timemachine")

    def aliases(self) -> dict[str, str]:
        with self.store() as store:
            versions = {alias: registry.aliased(store, alias) for alias in ("champion", "previous", "challenger")}
        return {alias: version.number for alias, version in versions.items() if version}

    def runs(self) -> list[Any]:
        store: Store
        with self.store() as store:
            return verdicts.find_verdicts(store)

    def over_time(self, metric: str) -> dict[int, float]:
        """Return the points of a metric of the run `champion over time`, by step."""
        store: Store
        with self.store() as store:
            [run] = runs.find_runs(store, verdicts.KIND, verdicts.OVER_TIME)
            return {point.step: point.value for point in store.client.get_metric_history(run.info.run_id, metric)}
