"""What SECURITY.md promises and no other test shows."""

import os
import pickle
import traceback
from pathlib import Path

import numpy as np
import pytest
from graph import ROOT, stages
from repository import Repository
from tiny import make_project, run_stage, tiny_params, write_params

from timemachine.language.models.trained import LanguageModel
from timemachine.pipeline import params, processes
from timemachine.text.preparation.prepare import accepted_pieces
from timemachine.text.tokens.corpus import Corpus
from timemachine.tracking import server, views
from timemachine.tracking.store import open_store

pytestmark = pytest.mark.slow


def test_no_command_of_the_graph_holds_anything_from_params() -> None:
    assert [stage["cmd"] for stage in stages().values() if "$" in stage["cmd"]] == []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository in a folder of its own, in which the stages before a training seem to have run."""
    (tmp_path / "repository/data/text/whole").mkdir(parents=True)
    repository = Repository(tmp_path / "repository")
    (repository.folder / "data/checked.txt").write_text("will do")
    (repository.folder / "data/text/whole/tokens.npy").write_text("tokens")
    return repository


def test_a_name_in_params_is_no_command_even_where_no_check_runs_before(repository: Repository) -> None:
    name = "'; touch taken; $(touch taken) '"
    repository.change(lambda content: content["train_rnn"].update({name: content["train_rnn"]["gated"]}))
    (repository.folder / "stages/check.py").unlink()
    with pytest.raises(
        AssertionError, match=r"train_rnn: error: params\.yaml: train_rnn\..* is not a name of up to"
    ):
        repository.dvc("repro", "--single-item", f"train_rnn@{name}")
    assert list(repository.folder.rglob("taken")) == []


@pytest.mark.parametrize("name", ["../../../..", "a" * 10_000])
def test_a_name_that_leads_out_of_the_repository_stops_before_dvc_touches_anything(
    repository: Repository, name: str
) -> None:
    victims = [repository.folder.parent / "config.json", repository.folder.parent / "outside/config.json"]
    for victim in victims:
        victim.parent.mkdir(exist_ok=True)
        victim.write_text("somebody's")
    repository.change(lambda content: content["train_rnn"].update({name: content["train_rnn"]["gated"]}))
    with pytest.raises(AssertionError, match=r"timemachine: error: params\.yaml: train_rnn\."):
        repository.repro()
    assert [victim.read_text() for victim in victims] == ["somebody's"] * 2


class Code:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_code_in_files_that_are_read_does_not_run(tmp_path: Path, project: Path) -> None:
    taken = tmp_path / "taken"
    np.save(project / "data/text/lines/tokens.npy", np.array([Code(taken)], dtype=object), allow_pickle=True)
    (project / "data/models/rnn/gated/model.safetensors").write_bytes(pickle.dumps(Code(taken)))
    (project / "params.yaml").write_text(f"download: !!python/object/apply:os.mkdir ['{taken}']\n")
    with pytest.raises(ValueError, match=r"params\.yaml: not YAML"):
        params.load(project / "params.yaml")
    with pytest.raises(ValueError, match=r"tokens\.npy"):
        Corpus.load(project / "data/text/lines")
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        LanguageModel.load(project / "data/models/rnn/gated")
    assert not taken.exists()


def test_what_starts_a_server_keeps_it_to_this_machine() -> None:
    files = [ROOT / "Makefile", *(ROOT / "deploy").iterdir()]
    lines = [line for file in files for line in file.read_text().splitlines() if "mlflow server " in line]
    assert lines
    assert [line for line in lines if "--host 127.0.0.1 " not in line] == []
    assert server.HOST == views.HOST == "127.0.0.1"


def test_a_stage_takes_its_name_from_dvc_unless_one_is_given(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "../dvc.yaml:train_ar@linear")
    monkeypatch.setattr(processes, "is_dvc", lambda process: True)  # else the stage would end, as its DVC is gone
    make_project(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/series").symlink_to(finished / "data/series")
    run_stage(tmp_path, "train_ar")
    run_stage(tmp_path, "train_ar", "mlp")
    assert sorted(path.name for path in (tmp_path / "data/models/ar").iterdir()) == ["linear", "mlp"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sources", ["https://ann:hunter2@example.org/text"]),
        ("sources", ["http://ann:hunter/hunter2@example.org/text"]),
        ("sources", "https://ann:hunter2@example.org/text"),
        ("sha256", f"https://ann:hunter2{'x' * 100}@example.org/text"),
        ("https://ann:hunter2@example.org/text", True),
    ],
)
def test_a_password_in_params_is_refused_and_not_said_again(tmp_path: Path, key: str, value: object) -> None:
    content = tiny_params()
    content["texts"]["timemachine"][key] = value
    write_params(tmp_path, content)
    with pytest.raises(ValueError, match=r"params\.yaml: texts\.timemachine\.") as refused:
        params.load(tmp_path / "params.yaml")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("password", ["hunter2", "hun/hunter2", "hun ter hunter2"])
def test_a_password_in_the_address_of_a_store_is_not_even_in_a_traceback(
    tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{password}@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(ValueError, match=r"^MLflow at http://127\.0\.0\.1:9: ") as refused,
        open_store(tmp_path, "x"),
    ):
        pass
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_a_link_below_own_or_accepted_that_leads_elsewhere_is_not_followed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("time,value\n1,2\n")
    content = tiny_params()
    content["series"]["csv"] = "data/own/folder/private.txt"
    write_params(project, content)
    for folder in ("data/own", "data/accepted"):
        (project / folder).mkdir()
    (project / "data/own/folder").symlink_to(tmp_path)
    for stage in ("check", "series"):
        with pytest.raises(SystemExit, match=r"private\.txt: a link that leads out of data/own/"):
            run_stage(project, stage)
    (project / "data/accepted/linked.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(ValueError, match=r"linked\.txt: a link"):
        accepted_pieces(project / "data/accepted")
