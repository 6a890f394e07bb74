"""Trainings that are interrupted, and what they leave on disk."""

import itertools
import os
import re
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_params, tiny_text

from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.training.train import train_autoregressive
from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.train import train_language_model
from timemachine.text.preparation.config import CorpusRecipe
from timemachine.text.preparation.prepare import build_corpus
from timemachine.training import resume
from timemachine.training.loop import Epoch
from timemachine.training.resume import FINISHED, Resumable, Snapshot, remove_states, training_hash

CPU = torch.device("cpu")
RECIPE = CorpusRecipe(**tiny_params()["preprocess"]["corpora"]["whole"])
OPTIONS: dict[str, Any] = RECIPE.model_dump(exclude={"texts"})
CORPUS = build_corpus(tiny_text(150), **OPTIONS, fractions=(0.8, 0.1, 0.1))
NUM_EPOCHS = 5
# Each draws, decays, remembers and stops in another way.
RECIPES = {
    "sgd from scratch": ("carried", {"sampling": "random"}),
    "shuffled windows": ("windowed", {"num_train": 100, "optimizer": "adam", "lr": 0.01}),
    "lstm with dropout, schedule and early stopping": ("gated", {"dropout": 0.5, "patience": 2, "lr": 0.3}),
}


def recipe(name: str, **changes: Any) -> RnnRecipe:
    return RnnRecipe(**tiny_params()["train_rnn"][name] | {"num_epochs": NUM_EPOCHS} | changes)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the states lie; every epoch is worth one."""
    monkeypatch.setattr(resume, "_SHARE", 1e9)
    return tmp_path / "resume/this"


def train(
    chosen: RnnRecipe, folder: Path, stop_after: int | None = None, stage: str | None = None
) -> tuple[dict[str, Any], list[Any]]:
    """Return weights and history; the power is cut at the end of the epoch `stop_after`."""

    def callback(epoch: Epoch) -> None:
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    with Resumable(folder, "it", chosen.num_epochs, stage) as resumable:
        model, history = train_language_model(chosen, CORPUS, CPU, callback, resumable)
    weights = {key: tensor.tolist() for key, tensor in model.state_dict().items()}
    return weights, [(epoch.epoch, epoch.loss, epoch.metrics) for epoch in history]


@pytest.mark.parametrize(("name", "changes"), RECIPES.values(), ids=RECIPES)
def test_a_training_interrupted_again_and_again_ends_in_the_same_bytes(
    name: str, changes: dict[str, Any], folder: Path
) -> None:
    chosen = recipe(name, **changes)
    expected = train(chosen, folder)
    for epoch in (1, 2, len(expected[1])):
        with pytest.raises(KeyboardInterrupt):
            train(chosen, folder, stop_after=epoch)
    assert train(chosen, folder) == expected
    assert not folder.exists()


def test_an_autoregressive_training_goes_on_too(folder: Path) -> None:
    chosen = ArRecipe(**tiny_params()["train_ar"]["mlp"])
    x = noisy_sine(120, 0.01, 0.2, 0).x
    expected = train_autoregressive(chosen, x, CPU)[0].state_dict()

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Resumable(folder, "it", 5) as resumable:
        train_autoregressive(chosen, x, CPU, stop, resumable)
    with Resumable(folder, "it", 5) as resumable:
        found = train_autoregressive(chosen, x, CPU, None, resumable)[0].state_dict()
        assert resumable.num_restored == 3
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def damage_nothing(path: Path) -> None:
    pass


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def turn_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damages", "num_restored"),
    [
        ([damage_nothing, damage_nothing], 3),
        ([damage_nothing, cut], 2),
        ([damage_nothing, turn_one_bit], 2),
        ([damage_nothing, empty], 2),
        ([empty, cut], 0),
    ],
)
def test_a_damaged_state_falls_back_to_the_one_before(
    damages: list[Any], num_restored: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = recipe("gated")
    expected = train(chosen, folder)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, folder, stop_after=3)
    for damage, path in zip(damages, sorted(folder.iterdir()), strict=True):
        damage(path)
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        train(chosen, folder, stop_after=num_restored or 1)  # told of at once, if it was restored
    said = capsys.readouterr().err
    assert said.count("is damaged and ignored") == sum(damage is not damage_nothing for damage in damages)
    assert (f"goes on after epoch {num_restored} of" in said) == bool(num_restored)
    assert train(chosen, folder) == expected


def test_an_interruption_says_where_it_stopped_and_leaves_two_states(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(recipe("gated"), folder, stop_after=4)
    (note,) = stopped.value.__notes__
    assert note.endswith(
        f"{folder} keeps the state of it after epoch 4 of 5, and the same command goes on from there"
    )
    assert [path.name[:15] for path in sorted(folder.iterdir())] == ["epoch-000000003", "epoch-000000004"]


def test_an_interruption_before_the_first_state_says_that_there_is_none(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped, Resumable(folder, "it", 5):
        raise KeyboardInterrupt
    assert stopped.value.__notes__ == ["there is no state of it yet; the same command starts from the beginning"]


def test_a_training_that_diverges_keeps_its_last_good_epoch(folder: Path) -> None:
    wild = tiny_params()["train_ar"]["linear"] | {"lr": 100.0, "batch_size": 60, "num_epochs": 50}
    x = noisy_sine(120, 0.01, 0.2, 0).x
    with (
        pytest.raises(ValueError, match=r"diverged in epoch \d+") as diverged,
        Resumable(folder, "it", 50) as resumable,
    ):
        train_autoregressive(ArRecipe(**wild), x, CPU, None, resumable)
    epoch = int(re.search(r"epoch (\d+)", str(diverged.value))[1])
    assert epoch > 2
    assert f"after epoch {epoch - 1} of 50" in diverged.value.__notes__[0]
    kept = Resumable(folder, "it", 50).load()
    assert kept is not None
    assert all(tensor.isfinite().all() for tensor in kept.tensors.values())


def test_a_folder_that_cannot_be_written_costs_a_warning_and_no_training(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = train(recipe("gated"), folder)
    (tmp_path / "file").write_text("in the way")
    assert train(recipe("gated"), tmp_path / "file/resume") == expected
    assert "it: warning: the state after epoch 1 cannot be written" in capsys.readouterr().err


def test_states_of_trainings_never_finished_make_room_oldest_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "_MAX_BYTES", 250)
    for age, name in enumerate(["newest", "middle", "oldest"]):
        other = folder.parent / name
        other.mkdir(parents=True)
        (other / "epoch-1-x.safetensors").write_bytes(b"x" * 100)
        os.utime(other, (1000 - age, 1000 - age))
    with Resumable(folder, "it", 1):
        assert sorted(path.name for path in folder.parent.iterdir()) == ["middle", "newest", "this"]


def test_states_of_a_training_that_runs_are_never_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "_MAX_BYTES", 0)
    snapshot = Snapshot(1, {"w": torch.zeros(9)}, {})
    with Resumable(folder, "it", 2, "train@it") as running:
        running.update(snapshot)
        assert not remove_states(folder)
        with Resumable(folder.parent / "other", "other", 1):
            pass
        found = running.load()
        assert found is not None
        assert found.epoch == 1
    assert remove_states(folder)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("stage", [None, "train@it"])
def test_the_same_training_in_another_process_waits_and_then_uses_what_is_there(
    stage: str | None, folder: Path
) -> None:
    waits, restored = threading.Event(), list[Snapshot | None]()

    class Second(Resumable):
        def _say(self, text: str) -> None:
            waits.set()

    def again() -> None:
        with Second(folder, "it", 1, stage) as second:
            restored.append(second.load())

    other = threading.Thread(target=again)
    with Resumable(folder, "it", 1, stage) as first:
        other.start()
        assert waits.wait(30)
        first.update(Snapshot(1, {"w": torch.zeros(9)}, {}))
    other.join(30)
    assert [snapshot and snapshot.epoch for snapshot in restored] == [1 if stage else None]
    assert folder.exists() == bool(stage)


def test_a_stage_that_is_done_keeps_its_last_state_and_runs_again_without_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "_SHARE", 1e-9)  # no state is worth it on its way
    chosen = recipe("gated")
    expected = train(chosen, folder, stage="train_rnn@it")
    assert [path.name[:15] for path in sorted(folder.iterdir())] == ["epoch-000000005", FINISHED]
    assert (folder / FINISHED).read_text() == "train_rnn@it"
    with Resumable(folder, "it", NUM_EPOCHS, "train_rnn@it") as again:
        assert not (folder / FINISHED).exists()
        model, _ = train_language_model(chosen, CORPUS, CPU, None, again)
    assert again.num_restored == NUM_EPOCHS
    assert {key: tensor.tolist() for key, tensor in model.state_dict().items()} == expected[0]
    assert (folder / FINISHED).exists()


def test_another_config_or_other_code_is_another_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hashes = [training_hash({"seed": 0}, {"threads": 1}), training_hash({"seed": 1}, {"threads": 1})]
    (tmp_path / "rnn.py").write_text("# other code\n")
    monkeypatch.setattr(resume, "__file__", str(tmp_path / "rnn.py"))
    hashes.append(training_hash({"seed": 0}, {"threads": 1}))
    assert all(first != second for first, second in itertools.combinations(hashes, 2))


@pytest.mark.parametrize("name", ["pipeline.stage", "tracking.live", "forecasting.models.config"])
def test_a_changed_message_of_the_pipeline_is_the_same_training(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = f"timemachine.{name}"
    module = types.ModuleType(name)
    module.__file__ = str(tmp_path / "stage.py")
    monkeypatch.setitem(sys.modules, name, module)
    hashes = set()
    for text in ("one", "another"):
        (tmp_path / "stage.py").write_text(f"MESSAGE = {text!r}\n")
        hashes.add(training_hash({"seed": 0}))
    assert len(hashes) == 1
