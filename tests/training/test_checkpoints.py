import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from graph import ROOT
from safetensors.torch import load_file
from tiny import make_project, run_stage

from timemachine.base.files import read_arrays, write_arrays
from timemachine.forecasting.evaluation.forecast import rmse
from timemachine.forecasting.models.autoregressive import build_autoregressive
from timemachine.forecasting.models.config import ArConfig
from timemachine.forecasting.models.regression import Problem
from timemachine.forecasting.series.source import noisy_sine
from timemachine.forecasting.training.train import history_rows, train_autoregressive
from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnConfig
from timemachine.pipeline import params
from timemachine.training.checkpoints import load_checkpoint, save_checkpoint

RECIPES = params.load(ROOT / "params.yaml").train_ar


def rebuild(config: RnnConfig) -> torch.nn.Module:
    return build_language_model(config, config.vocab_size)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint; to be read, not changed."""
    root = tmp_path_factory.mktemp("trained")
    make_project(root)
    for stage in (("download", "timemachine"), ("preprocess",), ("train_rnn", "carried")):
        run_stage(root, *stage)
    return root / "data/models/rnn/carried"


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be broken."""
    return Path(shutil.copytree(trained, tmp_path / "carried"))


def test_a_loaded_model_is_the_saved_one(trained: Path) -> None:
    model, config = load_checkpoint(trained, RnnConfig, rebuild)
    saved = load_file(trained / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    assert config.train_range == [0, 400]


@pytest.mark.parametrize("damage", ["absent", "empty", "cut in the header", "cut in the weights"])
def test_a_damaged_checkpoint_is_named(damage: str, checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes(content[: {"empty": 0, "cut in the header": 20, "cut in the weights": -8}[damage]])
    with pytest.raises(ValueError, match=r"model\.safetensors: .*dvc repro"):
        load_checkpoint(checkpoint, RnnConfig, rebuild)


def test_weights_of_another_shape_are_refused(checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hiddens": 9}))
    with pytest.raises(ValueError, match=r"model\.safetensors: does not fit .*config\.json"):
        load_checkpoint(checkpoint, RnnConfig, rebuild)


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
def test_a_config_that_is_none_is_named(content: str | dict, reason: str, checkpoint: Path) -> None:
    path = checkpoint / "config.json"
    text = content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"config\.json: .*{reason}"):
        load_checkpoint(checkpoint, RnnConfig, rebuild)


def test_another_vocabulary_is_refused(trained: Path) -> None:
    with pytest.raises(
        ValueError, match=r"config\.json: .* another vocabulary; .*beef; train it again with `dvc repro`"
    ):
        load_checkpoint(trained, RnnConfig, rebuild, "beef")


def test_weights_that_are_no_numbers_are_refused(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    arrays = read_arrays(path)
    next(iter(arrays.values())).flat[0] = np.nan
    write_arrays(path, arrays)
    with pytest.raises(
        ValueError,
        match=r"model\.safetensors: W_hh has values that are not finite; train it again with `dvc repro`",
    ):
        load_checkpoint(checkpoint, RnnConfig, rebuild)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("model", ["linear", "mlp", "rnn"])
def test_a_standardized_model_is_loaded_with_the_unit_of_its_series(
    model: str, unit: float, tmp_path: Path
) -> None:
    x = 3 + noisy_sine(1000, 0.01, 0.2, 0).x
    recipe = RECIPES[model].model_copy(update={"standardize": True})
    trained, history = train_autoregressive(recipe, unit * x, torch.device("cpu"))
    config = ArConfig(**recipe.model_dump(), family="ar", name=model, data_sha256="0" * 64)
    save_checkpoint(tmp_path, trained, config, history_rows(history), {"torch": "any"})
    loaded, _ = load_checkpoint(tmp_path, ArConfig, build_autoregressive)
    X = torch.tensor(unit * Problem(recipe.tau, (1,)).pairs(x[None])[0][0], dtype=torch.float32)
    with torch.inference_mode():
        predicted = loaded(X)[0][:, 0]
        assert torch.equal(predicted, trained(X)[0][:, 0])
    assert rmse(predicted.double().numpy() / unit - x[recipe.tau :]) < 0.3
