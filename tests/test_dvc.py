"""The graph run by DVC itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from repository import Repository, stages_run
from tiny import ALL_STAGES

from timemachine.pipeline import dvc, params
from timemachine.pipeline.position import position

pytestmark = pytest.mark.slow


class Changed(Repository):
    """A repository whose pipeline has run, and what it was like then."""

    def __init__(self, folder: Path, finished: Path) -> None:
        super().__init__(folder)
        self.order = self.adopt(finished)
        assert len(self.order) == len(ALL_STAGES) + 1
        self.first_params = (folder / "params.yaml").read_text()
        self.first_files = self.files()

    def files(self) -> set[Path]:
        return {path.relative_to(self.folder) for path in (self.folder / "data").rglob("*")}

    def write_params(self, text: str) -> None:
        (self.folder / "params.yaml").write_text(text)

    def status(self) -> list[str]:
        """Return the stages with a changed dependency, parameter or output."""
        return list(json.loads(self.dvc("status", "--json")))

    def consequences(self) -> set[str]:
        """Return the stages with a changed dependency or parameter, and all that read what these write.

        What `check` writes does not count: it is the same for all params that are right.
        """
        readers: dict[str, list[str]] = {}
        for line in self.dvc("dag", "--dot").splitlines():
            if edge := re.match(r'\s*"(.+)" -> "(.+)";', line):
                readers.setdefault(edge[1], []).append(edge[2])
        found, todo = set[str](), [stage for stage in self.status() if stage != "check"]
        while todo:
            stage = todo.pop()
            found.add(stage)
            todo += set(readers.get(stage, [])) - found
        return found


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Changed:
    return Changed(tmp_path_factory.mktemp("graph") / "repository", finished)


def new_seed(content: dict[str, Any]) -> None:
    content["train_ar"]["mlp"].update(seed=5)


def new_recipe(content: dict[str, Any]) -> None:
    content["train_rnn"].update(mine=content["train_rnn"]["carried"])


class TestInOrder:
    """One repository, changed step by step: the tests run in this order."""

    def test_a_second_repro_runs_nothing(self, repository: Changed) -> None:
        assert repository.repro() == []

    def test_stages_are_numbered_in_the_order_in_which_dvc_runs_them(self, repository: Changed) -> None:
        checked = params.load(repository.folder / "params.yaml")
        numbers = [position(name, checked, repository.folder / "dvc.yaml") for name in repository.order]
        assert numbers == [(i, len(numbers)) for i in range(1, len(numbers) + 1)]

    def test_a_stage_says_its_number_and_its_progress(self, repository: Changed) -> None:
        command = ("repro", "--force", "--single-item", "intervals")
        done = dvc.run(repository.folder, *command, env=repository.environment(), capture_output=True)
        number = repository.order.index("intervals") + 1
        said = [line for line in done.stderr.splitlines() if "intervals" in line]
        assert said[0] == f"stage {number} of {len(repository.order)}: intervals"
        assert said[-1].startswith("intervals: 2/2 strategies (")

    def test_the_run_is_in_mlflow(self, repository: Changed) -> None:
        receipt = json.loads((repository.folder / "data/published.json").read_text())
        mixtures = {"context_mixing/context_mixing", "context_mixing/context_mixing_gated"}
        recurrent = {"rnn/carried", "rnn/windowed", "rnn/gated"}
        assert set(receipt["models"]) == {"ar/linear", "ar/mlp"} | recurrent | mixtures
        assert (repository.folder / "mlflow.db").stat().st_size > 0

    def test_metrics_fit_in_one_line_of_120_columns(self, repository: Changed) -> None:
        header, values = repository.dvc("metrics", "show").splitlines()
        assert re.fullmatch(r"data/reports/summary\.json( +\d\.\d+){7} *", values)
        assert max(len(header), len(values)) <= 120

    def test_each_figure_and_each_history_is_drawn_once_with_a_title(
        self, repository: Changed, tmp_path: Path
    ) -> None:
        repository.dvc("plots", "show", "--out", str(tmp_path))
        page = (tmp_path / "index.html").read_text()
        figures = repository.folder.glob("data/reports/figures/*/*.png")
        names = ["_".join(path.relative_to(repository.folder).parts) for path in figures]
        assert sorted(re.findall(r'src="static/workspace_([^"]+)"', page)) == sorted(names)
        histories = [path.parent.name for path in repository.folder.glob("data/models/*/*/history.csv")]
        titles = re.findall(r'"text": "(\w+): training (?:loss|perplexity) by epoch"', page)
        assert sorted(titles) == sorted(histories)

    @pytest.mark.parametrize(
        ("room", "stages"),
        [
            ("pipeline", "publish"),
            ("tracking", "publish"),
            (
                "forecasting",
                r"check|series|train_ar@\w+|evaluate_forecast|choose_tau|backtest|intervals|draw_forecasts",
            ),
            (
                "language",
                "train_rnn.*|evaluate_perplexity.*|dynamic.*|context_mixing.*|compare_models|learning_.*|ngram.*"
                "|bptt|report_page|publish",
            ),
        ],
    )
    def test_a_changed_comment_makes_only_the_stages_run_that_its_room_may_change(
        self, repository: Changed, room: str, stages: str
    ) -> None:
        files = {path: path.read_text() for path in (repository.folder / f"src/timemachine/{room}").rglob("*.py")}
        for path, content in files.items():
            path.write_text(content + "# A comment.\n")
        changed = repository.status()
        for path, content in files.items():
            path.write_text(content)
        assert changed
        assert [stage for stage in changed if not re.fullmatch(stages, stage)] == []

    @pytest.mark.parametrize(
        ("family", "name", "trained"),
        [
            ("train_ar", "mlp", {"train_ar@mlp", "backtest"}),
            ("train_rnn", "carried", {"train_rnn@carried", "bptt"}),
        ],
    )
    def test_a_changed_value_of_one_wing_trains_one_model_and_nothing_of_the_other(
        self, repository: Changed, family: str, name: str, trained: set[str]
    ) -> None:
        repository.change(lambda content: content[family][name].update(lr=0.015))
        ran = repository.consequences()
        repository.write_params(repository.first_params)
        assert {stage for stage in ran if re.match("train_|dynamic_evaluation|backtest|bptt", stage)} == trained

    def test_a_new_seed_and_a_new_recipe_train_one_model_each_and_what_reads_it(
        self, repository: Changed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.change(new_seed)
        repository.change(new_recipe)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(AssertionError, match="publish: error: MLflow at http://127") as failed:
            repository.repro()
        ran = stages_run(str(failed.value))
        forecasting = ["train_ar@mlp", "evaluate_forecast", "backtest", "draw_forecasts"]
        language = {"train_rnn@mine", "evaluate_perplexity@mine"}
        of_all = {"context_mixing_networks", "compare_models", "draw_language_models", "learning_curves"}
        assert [stage for stage in ran if stage in forecasting] == forecasting
        assert ran[0] == "check"
        assert ran[-3:] == ["report", "report_page", "publish"]
        assert language <= set(ran[1:-3]) - set(forecasting) <= language | of_all

    def test_an_experiment_in_a_folder_of_its_own_is_in_the_same_store_and_shares_what_it_can(
        self, repository: Changed
    ) -> None:
        def names() -> list[str]:
            client = MlflowClient(f"sqlite:///{repository.folder / 'mlflow.db'}")
            experiment = client.get_experiment_by_name("timemachine").experiment_id
            found = client.search_runs([experiment])
            assert {run.info.status for run in found} == {"FINISHED"}
            return [run.info.run_name.split()[0] for run in found]

        before = names()
        changed = (repository.folder / "params.yaml").read_text()
        repository.write_params(repository.first_params)
        said = repository.dvc("exp", "run", "--temp", "--set-param", "train_ar.mlp.seed=5")
        repository.write_params(changed)
        assert stages_run(said) == ["check", "report", "report_page", "publish"]
        assert sorted(names()) == sorted([*before, "pipeline", "mlp", "mine"])  # which waited for the store
        # In a pipe, DVC cuts no line; columns of deps are as wide as a hash.
        table = repository.dvc("exp", "show", "--only-changed", "--hide-workspace", "--drop", ".*/").splitlines()
        assert re.fullmatch(r" *Experiment +Created .*train_ar\.mlp\.seed *", table[1])
        assert max(map(len, table)) <= 120

    def test_where_the_store_was_down_only_publish_is_left(self, repository: Changed) -> None:
        assert repository.repro() == ["publish"]

    def test_bad_params_and_a_bad_series_stop_before_anything_is_removed(self, repository: Changed) -> None:
        good, files = (repository.folder / "params.yaml").read_text(), repository.files()
        repository.change(lambda content: content["train_rnn"]["carried"].update(corpus="nope"))
        with pytest.raises(
            AssertionError,
            match=r"error: params\.yaml: .*carried\.corpus: unknown entry of preprocess\.corpora 'nope'",
        ):
            repository.repro()
        assert repository.files() == files
        (repository.folder / "data/own/s.csv").write_text("time,value\n1,2\n2,high\n")
        repository.write_params(good)
        repository.change(lambda content: content["series"].update(csv="data/own/s.csv"))
        with pytest.raises(AssertionError, match=r"check: error: data/own/s\.csv: .*'high'"):
            repository.repro()
        (repository.folder / "data/own/s.csv").unlink()
        assert repository.files() == files - {Path("data/checked.txt")}

    def test_going_back_trains_nothing_and_the_removed_recipe_leaves_no_trace(self, repository: Changed) -> None:
        repository.write_params(repository.first_params)
        assert repository.repro() == ["check", "report", "publish"]
        assert repository.files() == repository.first_files
