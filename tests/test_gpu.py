"""Trainings and generation on a GPU: CUDA graphs compute what single operations do, and what the CPU does.

The tests need a GPU, and neither DVC nor MLflow: `pytest --noconftest tests/test_gpu.py`.
"""

import gc
import os
import subprocess
import sys
from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from graph import ROOT
from tiny import tiny_text
from torch import Generator, Tensor, nn

from timemachine.base import compute
from timemachine.base.config import ComputeParams
from timemachine.forecasting.models.regression import Problem
from timemachine.forecasting.training.side_by_side import trained_regressor
from timemachine.forecasting.training.train import train_autoregressive
from timemachine.gradients.study import study_gradients
from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import GREEDY, continue_sequences
from timemachine.language.models.config import RnnRecipe
from timemachine.language.scoring.dynamic import read_and_learn
from timemachine.language.scoring.reading import read_parts
from timemachine.language.training.train import train_language_model
from timemachine.pipeline import params
from timemachine.text.preparation.prepare import build_corpus
from timemachine.training import loop
from timemachine.training.devices import choose_device, computing_in
from timemachine.training.graphs import Captured
from timemachine.training.resume import Snapshot

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
PARAMS = params.load(ROOT / "params.yaml")
CORPUS = build_corpus(
    tiny_text(1000), fractions=(0.8, 0.1, 0.1), **PARAMS.preprocess.corpora["whole"].model_dump(exclude={"texts"})
)
SMALL: dict[str, Any] = {"num_train": 1500, "num_val": 200, "batch_size": 4, "num_steps": 16, "num_hiddens": 24}
LSTM = PARAMS.train_rnn["lstm"]
SCRATCH = PARAMS.train_rnn["e1_scratch_sequential"]
RECIPES: dict[str, RnnRecipe] = {
    name: recipe.model_copy(update=SMALL | {"num_epochs": 3})
    for name, recipe in {
        **PARAMS.train_rnn,
        "gru": LSTM.model_copy(update={"cell": "gru", "embedding_dropout": 0.1, "num_layers": 2}),
        "attached": SCRATCH.model_copy(update={"detach": False}),
    }.items()
}
NO_DROPOUT = {"embedding_dropout": 0.0, "weight_dropout": 0.0, "dropout": 0.0}
every_recipe = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(autouse=True)
def set_up() -> None:
    compute.set_up(ComputeParams(num_threads=2))


def trained(recipe: RnnRecipe, device: torch.device, **arguments: Any) -> tuple[nn.Module, list[loop.Epoch]]:
    return train_language_model(recipe, CORPUS, device, **arguments)


def weights(model: nn.Module) -> bytes:
    return b"".join(value.cpu().numpy().tobytes() for value in model.state_dict().values())


def losses(history: list[loop.Epoch]) -> list[float]:
    return [value for epoch in history for value in (epoch.loss, *epoch.metrics.values())]


@every_recipe
def test_a_training_has_the_losses_of_the_cpu_and_the_same_bytes_twice(name: str) -> None:
    exact = RECIPES[name].model_copy(update=NO_DROPOUT)
    assert losses(trained(exact, GPU)[1]) == pytest.approx(losses(trained(exact, CPU)[1]), abs=1e-4)
    first, second = (trained(RECIPES[name], GPU) for _ in range(2))
    assert weights(first[0]) == weights(second[0])
    assert losses(first[1]) == losses(second[1])


@pytest.mark.parametrize("name", ["e1_scratch_sequential", "e1_concise_sequential", "e2_scratch_windows", "lstm"])
def test_a_graph_computes_the_bytes_of_single_operations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captured, _ = trained(RECIPES[name], GPU)
    monkeypatch.setattr(loop, "Captured", lambda step, *_: step)
    assert weights(captured) == weights(trained(RECIPES[name], GPU)[0])


class InterruptedTrainingError(Exception):
    pass


class Kept:
    """The state of a training after its second epoch, in which it is interrupted once."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def load(self) -> Snapshot | None:
        return self.snapshot

    def update(self, snapshot: Snapshot) -> None:
        if self.snapshot is None and snapshot.epoch == 2:
            copies = {key: tensor.detach().to("cpu", copy=True) for key, tensor in snapshot.tensors.items()}
            facts = snapshot.facts | {"history": [vars(epoch) for epoch in snapshot.facts["history"]]}
            self.snapshot = Snapshot(snapshot.epoch, copies, facts)
            raise InterruptedTrainingError


@pytest.mark.parametrize("name", ["e1_scratch_random", "lstm", "gru"])
def test_a_training_that_resumes_ends_in_the_bytes_of_one_that_was_not_interrupted(name: str) -> None:
    kept: Any = Kept()
    with pytest.raises(InterruptedTrainingError):
        trained(RECIPES[name], GPU, resumable=kept)
    assert {key for key in kept.snapshot.tensors if key.startswith("generators")} == {
        "generators/masks",
        "generators/order",
    }
    assert weights(trained(RECIPES[name], GPU, resumable=kept)[0]) == weights(trained(RECIPES[name], GPU)[0])


@pytest.mark.parametrize("name", ["e1_scratch_sequential", "e1_concise_sequential", "lstm", "gru"])
def test_lower_precisions_change_the_losses_a_little_and_keep_the_weights_in_float32(name: str) -> None:
    recipe = RECIPES[name].model_copy(update=NO_DROPOUT | {"num_hiddens": 64})
    exact = losses(trained(recipe, GPU)[1])
    for precision, tolerance in (("tf32", 0.03), ("bfloat16", 0.2)):
        model, history = trained(recipe.model_copy(update={"precision": precision}), GPU)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert losses(history) != exact
        assert losses(history) == pytest.approx(exact, rel=tolerance)
    assert losses(trained(recipe, GPU)[1]) == exact  # TF32 is off again


@pytest.mark.parametrize("name", ["e1_scratch_sequential", "e1_concise_sequential", "lstm", "gru"])
@pytest.mark.parametrize(
    "sampling", [GREEDY, Sampling(), Sampling(alpha=1.5, top_k=5, top_p=0.9)], ids=["greedy", "sampled", "cut"]
)
def test_generation_writes_the_text_of_the_cpu(name: str, sampling: Sampling) -> None:
    model, _ = trained(RECIPES[name], CPU)
    prefixes = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]] * 5
    texts = []
    for device in (CPU, GPU):
        generator = Generator().manual_seed(0)
        texts.append(continue_sequences(model.to(device), prefixes, 30, sampling, generator))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["e1_scratch_sequential", "e1_concise_sequential", "lstm", "gru"])
def test_scores_are_those_of_the_cpu(name: str) -> None:
    model, _ = trained(RECIPES[name], CPU)
    tokens = torch.from_numpy(CORPUS.tokens.astype("int64"))
    readings, adapted = [], []
    for device in (CPU, GPU):
        copy, _ = trained(RECIPES[name], CPU)
        readings.append(read_parts(model.to(device), CORPUS, (0, 1500), 50, 4))
        adapted.append(read_and_learn(copy.to(device), tokens.to(device), 200, len(tokens) - 300, 20, 0.001))
    assert readings[0].keys() == readings[1].keys()
    for key, expected in readings[0].items():
        np.testing.assert_allclose(readings[1][key], expected, atol=1e-3)
    np.testing.assert_allclose(adapted[1], adapted[0], atol=5e-3)


def test_the_study_of_gradients_finds_what_it_finds_on_the_cpu() -> None:
    training = PARAMS.bptt.training.model_copy(update={"num_train": 400, "num_epochs": 4, "seeds": [0, 1]})
    p = PARAMS.bptt.model_copy(update={"training": training, "num_draws": 50})
    reports = []
    for device in (CPU, GPU):
        model, _ = trained(RECIPES["e1_scratch_sequential"], CPU)
        reports.append(study_gradients(p, CORPUS, model.to(device), (0, 1500))[0])
    for report in reports:
        assert report["cost"] == reports[0]["cost"]
    rates = [{name: found["rate"] for name, found in report["gradient_norm"].items()} for report in reports]
    assert rates[1] == pytest.approx(rates[0], rel=1e-6)
    for kind in ("full", "truncated"):
        assert reports[1]["training"][kind]["nats"] == pytest.approx(
            reports[0]["training"][kind]["nats"], rel=1e-3
        )
    randomised = [report["training"]["randomised"]["nats"] for report in reports]
    assert randomised[1] == pytest.approx(randomised[0], rel=0.1)  # other draws


def test_random_numbers_of_a_graph_are_new_at_each_call() -> None:
    generator = Generator(GPU).manual_seed(0)
    draw = Captured(lambda x: x + torch.rand(3, device=GPU, generator=generator), GPU, [generator])
    drawn = [draw(torch.zeros(3, device=GPU)).tolist() for _ in range(8)]
    generator.manual_seed(0)
    assert drawn == [torch.rand(3, device=GPU, generator=generator).tolist() for _ in range(8)]


@pytest.mark.parametrize("name", PARAMS.train_ar)
def test_autoregressive_trainings_are_those_of_the_cpu(name: str) -> None:
    recipe = PARAMS.train_ar[name].model_copy(update={"num_train": 100, "num_epochs": 3})
    x = np.sin(np.arange(120) / 5) + 0.1 * np.random.default_rng(0).standard_normal(120)
    history = [losses(train_autoregressive(recipe, x, device)[1]) for device in (CPU, GPU)]
    assert history[1] == pytest.approx(history[0], rel=1e-4)
    predicted = []
    for device in ("cpu", "cuda"):
        regressor = trained_regressor(recipe.model_copy(update={"device": device}))
        (predict,) = regressor(np.stack([x, x[::-1]]), [Problem(4, (1,))])
        predicted.append(predict(np.ones((2, 3, 4))))
    np.testing.assert_allclose(predicted[1], predicted[0], rtol=1e-4)


class Weight(nn.Module):
    """Predicts its only weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, X: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.w * X, None


def squared(output: Tensor, Y: Tensor) -> loop.Loss:
    total = (output - Y).square().sum()
    return loop.Loss(total, total.detach())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_schedule_changes_the_learning_rate_within_a_graph(name: str) -> None:
    ends = []
    for device in (CPU, GPU):
        model = Weight().to(device)
        pairs = [(torch.ones(n, 1, device=device), torch.full((n, 1), 10.0, device=device)) for n in (3, 3, 3, 1)]
        optimizer = loop.make_optimizer(name, model.parameters(), lr=0.01)
        schedule = loop.warmup_cosine(0.2)
        loop.fit(model, lambda pairs=pairs: pairs, squared, optimizer, 6, schedule=schedule, clip_norm=5.0)
        ends.append(model.w.item())
    assert ends[1] == pytest.approx(ends[0], rel=1e-5)


def test_an_epoch_waits_for_the_gpu_once() -> None:
    model = Weight().to(GPU)
    pairs = [(torch.ones(3, 1, device=GPU), torch.full((3, 1), 10.0, device=GPU)) for _ in range(5)]
    optimizer, numbers = loop.make_optimizer("adamw", model.parameters(), lr=0.01), count()

    def minibatches() -> list[tuple[Tensor, Tensor]]:
        if next(numbers) == 1:  # the first epoch sets up and captures, the loop reads at the end of each
            torch.cuda.set_sync_debug_mode("error")
        return pairs

    try:
        with pytest.raises(RuntimeError, match="synchronizing"):
            loop.fit(model, minibatches, squared, optimizer, 2, clip_norm=1.0, schedule=loop.warmup_cosine(0.5))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert next(numbers) == 2
    steps = {float(state["step"]) for state in optimizer.state.values()}
    assert steps == {2 * len(pairs)}  # the wait that was refused came after the last minibatch


def test_memory_of_a_training_is_free_after_it() -> None:
    def reserved() -> int:
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    trained(RECIPES["lstm"], GPU)
    sizes = [reserved()]
    for _ in range(2):
        trained(RECIPES["lstm"], GPU)
        sizes.append(reserved())
    assert all(after <= before for before, after in pairwise(sizes))


def test_exhausted_memory_says_how_much_was_asked_for_and_which_knobs_need_less() -> None:
    with (
        pytest.raises(torch.OutOfMemoryError) as refused,
        compute.needing_less_with("batch_size of train_rnn.lstm"),
    ):
        torch.empty(2**45, dtype=torch.uint8, device=GPU)
    text = compute.out_of_memory(refused.value)
    assert text
    assert text.startswith("out of memory: CUDA out of memory. Tried to allocate 32768.00 GiB")
    assert refused.value.__notes__ == ["a smaller batch_size of train_rnn.lstm needs less"]


def test_memory_that_is_exhausted_in_a_capture_is_said_as_such_and_leaves_the_gpu_usable() -> None:
    calls = count()

    def step(x: Tensor) -> Tensor:
        torch.empty(2**45 if next(calls) == 2 else 1, dtype=torch.uint8, device=GPU)
        return x + 1

    captured = Captured(step, GPU)
    x = torch.zeros(1, device=GPU)
    assert [float(captured(x)) for _ in range(2)] == [1, 1]
    with pytest.raises(torch.OutOfMemoryError):
        captured(x)
    assert float(x + 1) == 1


def test_a_gpu_that_is_not_here_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"device 'cuda:77' is not available; choose auto, cpu, cuda or cuda:0"):
        choose_device("cuda:77")
    assert choose_device("auto") == GPU


LATE = """
import torch
from timemachine.pipeline import stage

with stage.one_line_errors("stage"):
    X = torch.zeros(3, device="cuda")
    X[torch.tensor([7], device="cuda")]
    print(X.sum())
"""
HIDDEN = """
from timemachine.pipeline import stage
from timemachine.training.devices import choose_device

with stage.one_line_errors("stage"):
    print(choose_device("auto"))
    choose_device("cuda")
"""


def test_a_late_error_of_the_gpu_is_one_line_and_hidden_gpus_are_named() -> None:
    def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)

    late = run(LATE)
    assert late.returncode == 1
    assert late.stderr.splitlines()[-1].startswith(
        "stage: error: CUDA error: device-side assert triggered; the GPU"
    )
    assert "Traceback" not in late.stderr
    hidden = run(HIDDEN, CUDA_VISIBLE_DEVICES="")
    assert hidden.stdout == "cpu\n"
    reason = "device 'cuda' is not available; choose auto or cpu; CUDA_VISIBLE_DEVICES is ''"
    assert hidden.stderr == f"stage: error: {reason}\n"


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_precision_is_that_of_the_block_only(precision: Any) -> None:
    X = torch.randn(256, 256, device=GPU, generator=Generator(GPU).manual_seed(0))
    exact = (X.double() @ X.double()).float()
    with computing_in(precision, GPU):
        error = float(((X @ X).float() - exact).abs().max())
    low, high = {"float32": (0, 1e-3), "tf32": (1e-3, 0.1), "bfloat16": (0.05, 1)}[precision]
    assert low <= error < high
    assert float((X @ X - exact).abs().max()) < 1e-3
