import platform
from pathlib import Path

import pytest
import torch
import yaml
from tiny import git, run_stage, write_params

from timemachine.tracking.run_origin import trace_run
from timemachine.tracking.runs import KEY
from timemachine.tracking.store import open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def published(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The ids of the runs of a state that was committed, by name."""
    (root / ".gitignore").write_text("/data\n/mlflow*\n/mlartifacts\n/.timemachine\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "all")
    run_stage(root, "publish")
    with open_store(root, "timemachine") as store:
        runs = [run for run in store.client.search_runs([store.experiment_id]) if KEY in run.data.tags]
    return {run.info.run_name.split()[0]: run.info.run_id for run in runs}


def told(root: Path, run_id: str) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for line in trace_run(root, "timemachine", run_id):
        lines.setdefault(line[:13].strip(), []).append(line[13:])
    return lines


def test_a_run_is_traced_to_text_params_and_commit_and_can_be_made_again(
    root: Path, published: dict[str, str]
) -> None:
    trace = told(root, published["carried"])
    content = yaml.safe_load((root / "params.yaml").read_text())
    head = git(root, "rev-parse", "HEAD").strip()
    assert trace["run"] == ["carried, FINISHED, of stage train_rnn@carried"]
    assert trace["text"] == [f"timemachine, SHA-256 {content['texts']['timemachine']['sha256']}"]
    assert "num_hiddens: 8" in trace["params"]
    assert trace["commit"] == [head]
    assert trace["machine"][0].startswith(f"python {platform.python_version()}, torch {torch.__version__}, ")
    assert trace["reproduce"] == [f"yes: `git checkout {head[:12]}`, then `dvc repro train_rnn@carried`"]
    assert told(root, published["pipeline"])["reproduce"] == [f"yes: `git checkout {head[:12]}`, then `dvc repro`"]


def test_a_run_of_another_machine_and_text_says_what_is_not_here(root: Path, published: dict[str, str]) -> None:
    with open_store(root, "timemachine") as store:
        store.client.set_tag(published["carried"], "timemachine.torch", "1.0")
    for text in (root / "data/raw/timemachine/timemachine.txt", root / "text.txt"):
        text.unlink()
    (again,) = told(root, published["carried"])["reproduce"]
    assert again.startswith("yes, with internet, because a text is absent: `git checkout ")
    assert again.endswith(f"; other bytes are likely, because this machine has torch {torch.__version__}")


def test_a_run_whose_params_or_commit_are_not_here_says_so(root: Path, published: dict[str, str]) -> None:
    (root / ".git").rename(root / "away")
    assert told(root, published["mlp"])["reproduce"][0].startswith("no: this repository has no commit")
    (root / "away").rename(root / ".git")
    content = yaml.safe_load((root / "params.yaml").read_text())
    own = content["train_ar"]
    for section, what in [(own | {"mlp": own["mlp"] | {"seed": 7}}, "seed"), ([1], "mlp")]:
        write_params(root, content | {"train_ar": section})
        git(root, "commit", "--quiet", "--all", "--message", "another")
        with open_store(root, "timemachine") as store:
            head = git(root, "rev-parse", "HEAD").strip()
            store.client.set_tag(published["mlp"], "mlflow.source.git.commit", head)
        assert told(root, published["mlp"])["reproduce"] == [
            f"by hand: the commit has other params (train_ar: {what}); use those listed above"
        ]


def test_what_a_run_says_is_no_option_of_git_and_no_line_of_its_own(root: Path, published: dict[str, str]) -> None:
    (root / "new:.").mkdir()
    with open_store(root, "timemachine") as store:
        store.client.set_tag(published["mlp"], "mlflow.source.git.commit", "--output=new")
        store.client.set_tag(published["pipeline"], "mlflow.source.git.commit", "--output=new")
        store.client.log_param(published["mlp"], "note", "one\ncommit       two\x1b[2J")
    trace = told(root, published["mlp"])
    assert trace["commit"] == ["unknown"]
    assert r"note: one\ncommit       two\x1b[2J" in trace["params"]
    assert list((root / "new:.").iterdir()) == []


def test_a_run_that_is_not_there_is_an_error_that_names_the_store(root: Path) -> None:
    with pytest.raises(ValueError, match=f"{'0' * 32}: no such run in sqlite:///"):
        trace_run(root, "timemachine", "0" * 32)


def test_a_store_that_refuses_is_named_without_its_password(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://bob:hunter2@127.0.0.1:9")
    with pytest.raises(ValueError, match=r"MLflow at http://127\.0\.0\.1:9") as refused:
        trace_run(root, "timemachine", "0" * 32)
    assert "hunter2" not in str(refused.value)
