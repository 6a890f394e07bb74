import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from timemachine.models.language import rebuild_language_model
from timemachine.params import RnnConfig
from timemachine.training.checkpoints import load_checkpoint

NAME = "data/models/rnn/carried"


def test_a_loaded_model_is_the_saved_one(finished: Path) -> None:
    model, config = load_checkpoint(finished / NAME, RnnConfig, rebuild_language_model)
    saved = load_file(finished / NAME / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    assert config.train_range == [0, 400]


@pytest.mark.parametrize("damage", ["absent", "empty", "cut in the header", "cut in the weights"])
def test_a_damaged_checkpoint_is_named(damage: str, project: Path) -> None:
    path = project / NAME / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes(content[: {"empty": 0, "cut in the header": 20, "cut in the weights": -8}[damage]])
    with pytest.raises(ValueError, match=r"model\.safetensors: .*dvc repro"):
        load_checkpoint(project / NAME, RnnConfig, rebuild_language_model)


def test_weights_of_another_shape_are_refused(project: Path) -> None:
    path = project / NAME / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hiddens": 9}))
    with pytest.raises(ValueError, match=r"model\.safetensors: does not fit .*config\.json"):
        load_checkpoint(project / NAME, RnnConfig, rebuild_language_model)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "holds no keys"),
        ("{}", "corpus: missing"),
        ({"num_hiddens": -1}, "num_hiddens: -1 should be greater"),
        ({"train_range": "all"}, "train_range: 'all' should be a list"),
        ({"activation": "sine"}, "activation: 'sine' should be 'tanh' or 'relu'"),
    ],
)
def test_a_config_that_is_none_is_named(content: str | dict, reason: str, project: Path) -> None:
    path = project / NAME / "config.json"
    text = content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"config\.json: .*{reason}"):
        load_checkpoint(project / NAME, RnnConfig, rebuild_language_model)


def test_another_vocabulary_is_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json: trained with another vocabulary .*beef; `dvc repro`"):
        load_checkpoint(finished / NAME, RnnConfig, rebuild_language_model, "beef")
