"""Every recipe on torch's `meta` device, which has no data: an operation that mixes devices fails there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from graph import ROOT
from tiny import tiny_text
from torch import Tensor
from torch.overrides import TorchFunctionMode

from timemachine.forecasting.models.config import ArRecipe
from timemachine.forecasting.models.regression import Problem
from timemachine.forecasting.training import side_by_side
from timemachine.forecasting.training import train as train_ar
from timemachine.gradients import study, truncation
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import continue_sequences
from timemachine.language.models.build import build_language_model
from timemachine.language.models.config import RnnRecipe
from timemachine.language.models.rnn_scratch import RNNScratch
from timemachine.language.scoring.dynamic import read_and_learn
from timemachine.language.scoring.reading import read_parts
from timemachine.language.training import train
from timemachine.pipeline import params
from timemachine.text.preparation.prepare import build_corpus

META = torch.device("meta")
PARAMS = params.load(ROOT / "params.yaml")
RECIPE = PARAMS.preprocess.corpora["whole"].model_dump(exclude={"texts"})
CORPUS = build_corpus(tiny_text(100), fractions=(0.8, 0.1, 0.1), **RECIPE)
SMALL: dict[str, Any] = {"num_train": 100, "num_val": 20, "batch_size": 4, "num_steps": 8, "num_hiddens": 6}
LSTM = PARAMS.train_rnn["lstm"]
RECIPES: dict[str, RnnRecipe] = {
    name: recipe.model_copy(update=SMALL | {"num_epochs": 2})
    for name, recipe in {
        **PARAMS.train_rnn,
        "gru": LSTM.model_copy(update={"cell": "gru", "embedding_dropout": 0.1, "num_layers": 2}),
        "attached": PARAMS.train_rnn["e1_scratch_sequential"].model_copy(update={"detach": False}),
    }.items()
}
every_recipe = pytest.mark.parametrize("name", RECIPES)
every_ar_recipe = pytest.mark.parametrize("name", PARAMS.train_ar)


class OfDevice(torch.Generator):
    """A generator on the CPU that says it is on the device it was made for; torch has none for `meta`."""

    device = torch.device("cpu")

    def __new__(cls, device: torch.device | str = "cpu") -> "OfDevice":
        generator = super().__new__(cls)
        generator.device = torch.device(device)
        return generator


class Watch(TorchFunctionMode):
    """Checks that each generator is on the device it draws for, and notes what the host reads from `meta`.

    What is read are ones.
    """

    READING = frozenset({"item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__"})
    DRAWING = frozenset({"bernoulli", "bernoulli_", "rand", "randint", "randperm", "normal_", "uniform_"})

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.drawn_for: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.__name__, kwargs or {}
        if name in self.READING and args[0].is_meta:
            self.reads.append(name)
            args = (torch.ones_like(args[0], device="cpu"), *args[1:])
        result = func(*args, **kwargs)
        generator = kwargs.get("generator")
        if name in self.DRAWING and (generator is not None or result.is_meta):
            assert generator.device.type == result.device.type
            self.drawn_for.add(result.device.type)
        return result


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Run on `meta` what would run on a GPU."""
    for module in (train, train_ar, side_by_side, study, truncation):
        monkeypatch.setattr(module, "Generator", OfDevice)
    with Watch() as watch:
        yield watch


@every_recipe
def test_a_training_stays_on_its_device_and_is_read_once_in_an_epoch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES[name]
    with watched(monkeypatch) as watch:
        model, history = train.train_language_model(recipe, CORPUS, META)
    assert {p.device for p in model.parameters()} == {META}
    assert len(history) == 2
    assert watch.reads == 2 * ["tolist", "__float__"]  # the loss and the weights of the epoch; the validation
    has_masks = any((recipe.embedding_dropout, recipe.weight_dropout, recipe.dropout))
    assert watch.drawn_for == ({"cpu", "meta"} if has_masks else {"cpu"})


@every_recipe
def test_scoring_and_generation_stay_on_the_device_of_the_model(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_language_model(RECIPES[name], len(CORPUS.vocabulary)).to(META)
    with watched(monkeypatch) as watch:
        readings = read_parts(model, CORPUS, CORPUS.split["train"], 20, 3)
        assert len(readings["test"]) == len(CORPUS.part("test"))
        assert watch.reads == ["cpu"] + 2 * ["cpu", "cpu"]  # a part is read when it ends
        watch.reads.clear()
        for sampling in (Sampling(alpha=float("inf")), Sampling(), Sampling(alpha=1.5, top_k=3, top_p=0.9)):
            texts = continue_sequences(model, [[1, 2, 3], [1]], 5, sampling, OfDevice())
            assert [len(text) for text in texts] == [5, 5]
        assert watch.reads == 3 * ["tolist"]


@every_recipe
def test_dynamic_evaluation_stays_on_the_device_of_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_language_model(RECIPES[name], len(CORPUS.vocabulary)).to(META)
    tokens = torch.zeros(60, dtype=torch.int64, device=META)
    with watched(monkeypatch) as watch:
        assert read_and_learn(model, tokens, 20, 30, 10, 0.001).shape == (30, len(CORPUS.vocabulary))
    assert watch.reads == ["__bool__", "cpu"]  # the size of the gradients, and the result


def test_the_study_of_gradients_stays_on_the_device_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    p = PARAMS.bptt.model_copy(update={"num_steps": 6, "tau": 3, "num_lags": 8, "num_warmup": 10, "num_draws": 20})
    small = p.training.model_copy(update={"num_train": 100, "num_epochs": 2, "num_hiddens": 6, "seeds": [0]})
    with watched(monkeypatch) as watch:
        model = RNNScratch(len(CORPUS.vocabulary), 6, generator=OfDevice()).to(META)
        report, _ = study.study_gradients(p.model_copy(update={"training": small}), CORPUS, model, (0, 300))
    assert set(report["training"]) == {"full", "truncated", "randomised"}
    assert watch.reads.count("tolist") >= 3 * 2
    assert watch.drawn_for == {"cpu", "meta"}  # the random cuts


@every_ar_recipe
def test_autoregressive_trainings_stay_on_their_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe: ArRecipe = PARAMS.train_ar[name].model_copy(update={"num_train": 50, "num_epochs": 2})
    x = np.sin(np.arange(60))
    monkeypatch.setattr(side_by_side, "choose_device", lambda name: META)
    with watched(monkeypatch) as watch:
        model, _ = train_ar.train_autoregressive(recipe, x, META)
        assert {p.device for p in model.parameters()} == {META}
        assert watch.reads == 2 * ["tolist", "__float__"]
        watch.reads.clear()
        (predict,) = side_by_side.trained_regressor(recipe)(np.stack([x, x]), [Problem(4, (1,))])
        assert predict(np.ones((2, 3, 4))).shape == (2, 3, 1)
        assert watch.reads == 2 * ["tolist"] + ["cpu"]


def test_the_watch_sees_an_operation_that_mixes_devices_and_a_generator_of_the_wrong_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with watched(monkeypatch):
        on_meta: Tensor = torch.zeros(3, device=META)
        with pytest.raises(RuntimeError, match="meta"):
            on_meta + torch.zeros(3)
        with pytest.raises(AssertionError):
            on_meta.bernoulli_(0.5, generator=OfDevice("cpu"))
