"""`timemachine generate`, on the models of a tiny pipeline."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from registered import registered

from timemachine import cli
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import continue_texts
from timemachine.language.models.trained import LanguageModel

pytestmark = pytest.mark.slow


@pytest.fixture
def generate(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `timemachine generate` in the finished project, and return the line that it prints."""
    monkeypatch.chdir(finished)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["timemachine", "generate", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        if ended.value.code:
            raise ended.value
        return capsys.readouterr().out.removesuffix("\n")

    return run


@pytest.mark.parametrize("name", ["carried", "windowed", "gated"])
def test_greedily_it_writes_what_the_pipeline_wrote(generate, finished: Path, name: str) -> None:
    written = (finished / f"data/generated/{name}.txt").read_text().splitlines()[0]
    assert generate("the time", "--num-preds", "10", "--model", name) == written


def test_a_path_is_a_model_too(generate, finished: Path, tmp_path: Path) -> None:
    from timemachine.tracking.registry import package

    checkpoint = finished / "data/models/rnn/gated"
    package(checkpoint, tmp_path / "packaged")
    by_name = generate("time", "--model", "gated")
    assert len(by_name) == len("time") + 50
    assert generate("time", "--model", str(checkpoint)) == by_name
    assert generate("time", "--model", str(tmp_path / "packaged")) == by_name


def test_it_samples_as_the_pipeline_does_and_again_with_the_seed(generate, finished: Path) -> None:
    model = LanguageModel.load(finished / "data/models/rnn/gated")
    sampling = Sampling(alpha=0.5, top_k=9, top_p=0.9)
    options = ("--model", "gated", "--top-k", "9", "--top-p", "0.9", "--seed", "3")
    (expected,) = continue_texts(model.module, model.tokenizer, ["time"], [50], sampling, seed=3)
    assert generate("time", "--alpha", "0.5", *options) == expected
    assert generate("time", "--temperature", "2", *options) == expected
    assert generate("time", "--temperature", "2", *options[:-1], "4") != expected


def test_it_is_greedy_unless_told_otherwise(generate) -> None:
    greedy = generate("time", "--model", "gated")
    assert generate("time", "--model", "gated", "--temperature", "0", "--seed", "5") == greedy
    assert generate("time", "--model", "gated", "--top-k", "1") == greedy
    assert generate("time", "--model", "gated", "--top-k", "20") != greedy


def test_a_prefix_is_read_as_the_text_was(generate) -> None:
    assert generate("Time, Traveller!", "--model", "gated").startswith("time traveller ")


def test_what_the_vocabulary_lacks_is_read_as_unknown(generate) -> None:
    assert generate("time machinx", "--model", "gated").startswith("time machin<unk>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", "--model", "gated"], "the prefix is empty"),
        (["1895", "--model", "gated"], "the prefix holds no letter A-Z"),
        (["a", "--num-preds", "0"], r"--num-preds: 0 is not from 1 to 100000"),
        (["a", "--num-preds", "100001"], r"--num-preds: 100001 is not"),
        (["a", "--seed", "-1"], "--seed: -1 is not"),
        (["a", "--temperature", "1", "--alpha", "1"], "temperature and alpha: give one of them"),
        (["a", "--temperature", "nan"], "temperature: nan is not"),
        (["a", "--alpha", "0"], r"alpha: 0\.0 should be greater than 0"),
        (["a", "--top-k", "0"], "top_k: 0 should be greater than or equal to 1"),
        (["a", "--top-p", "1.5"], r"top_p: 1\.5 should be less than or equal to 1"),
        (["a", "--model", "lost"], "'lost' is neither .*; .*data/models/rnn has carried, gated, windowed$"),
        (["a", "--model", "data/models/ar/mlp"], "data/models/ar/mlp: not a language model"),
        (["a"], r"has no champion; run `timemachine retrain`, or .*: carried, gated, windowed$"),
    ],
)
def test_a_users_mistake_ends_in_one_line(generate, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=f"^timemachine: error: .*{message}"):
        generate(*arguments)


def test_looking_for_a_champion_makes_no_store(generate, finished: Path) -> None:
    with pytest.raises(SystemExit):
        generate("a")
    assert not (finished / "mlflow.db").exists()


def test_without_a_name_the_champion_writes(generate, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timemachine.tracking import registry
    from timemachine.tracking.store import open_store

    with open_store(root, "timemachine") as store:
        champion = registered(store, root / "data/models/rnn/windowed", root / "packaged")
        registry.move_alias(store, "champion", champion, reason="the first")
    by_name = generate("time", "--model", "windowed")
    monkeypatch.chdir(root)
    assert generate("time") == by_name


def test_a_version_that_this_code_cannot_read_is_named(
    generate, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timemachine.tracking import registry
    from timemachine.tracking.store import open_store

    checkpoint = Path(shutil.copytree(root / "data/models/rnn/windowed", tmp_path / "older"))
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"num_gears": 3}))
    with open_store(root, "timemachine") as store:
        champion = registered(store, checkpoint, root / "packaged")
        registry.move_alias(store, "champion", champion, reason="the first")
    monkeypatch.chdir(root)
    message = (
        "^timemachine: error: champion, version 1: config.json: num_gears: .*use a recipe .*`timemachine serve`"
    )
    with pytest.raises(SystemExit, match=message):
        generate("time")


def test_a_model_on_this_machine_needs_no_mlflow(finished: Path) -> None:
    code = "import sys; sys.modules.update(mlflow=None, dvc=None); from timemachine.cli import main; main()"
    command = [sys.executable, "-c", code, "generate", "time", "--model", "gated"]
    subprocess.run(command, cwd=finished, check=True)
