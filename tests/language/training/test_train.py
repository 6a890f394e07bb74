"""Training of language models: oracles on texts that can be learnt exactly, and the recipe's ranges."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_params, tiny_text

from timemachine.language.models.config import RnnRecipe
from timemachine.language.training.train import (
    history_rows,
    train_language_model,
    training_range,
    validation_nats,
    validation_range,
)
from timemachine.text.preparation.prepare import build_corpus
from timemachine.text.tokens.corpus import Corpus

CPU = torch.device("cpu")
OPTIONS: dict[str, Any] = {
    "cleaning": "lines", "level": "char", "order": "frequency", "min_freq": 0, "reserved_tokens": []
}  # fmt: skip


def corpus_of(text: str) -> Corpus:
    return build_corpus(text, **OPTIONS, fractions=(0.8, 0.1, 0.1))


def recipe(**changes: Any) -> RnnRecipe:
    return RnnRecipe(**tiny_params()["train_rnn"]["carried"] | changes)


CORPUS = corpus_of(tiny_text())


@pytest.mark.parametrize("implementation", ["scratch", "concise"])
def test_an_untrained_model_is_uniform_and_a_trained_one_knows_a_cycle(implementation: str) -> None:
    corpus = corpus_of("abcd" * 300)
    frozen = recipe(implementation=implementation, lr=1e-9, num_epochs=1)
    trained = recipe(implementation=implementation, num_epochs=60, num_hiddens=16)
    first, last = (history_rows(train_language_model(r, corpus, CPU)[1])[-1] for r in (frozen, trained))
    assert first["perplexity"] == pytest.approx(len(corpus.vocabulary), rel=0.25)
    assert last["perplexity"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("sampling", ["sequential", "random", "windows"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_every_cell_learns_through_every_way_of_reading(sampling: str, cell: str) -> None:
    num_train = 100 if sampling == "windows" else 400  # about as many tokens
    chosen = recipe(
        sampling=sampling, cell=cell, implementation="concise", num_epochs=4, num_train=num_train, num_val=60
    )
    rows = history_rows(train_language_model(chosen, CORPUS, CPU)[1])
    assert rows[-1]["nats"] < rows[0]["nats"]
    assert rows[-1]["perplexity"] == pytest.approx(math.exp(rows[-1]["nats"]))
    assert rows[-1]["val_perplexity"] < len(CORPUS.vocabulary) + 1


def test_the_same_seed_gives_the_same_weights_and_history_and_another_seed_others() -> None:
    results = [train_language_model(recipe(seed=seed), CORPUS, CPU) for seed in (0, 0, 1)]
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model, _ in results]
    rows = [history_rows(history) for _, history in results]
    assert torch.equal(weights[0], weights[1])
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize(("num_train", "same"), [(45, True), (400, False)], ids=["one minibatch", "several"])
def test_detaching_makes_a_difference_from_the_second_minibatch_on(num_train: int, same: bool) -> None:
    recipes = [recipe(detach=detach, num_epochs=1, num_train=num_train) for detach in (True, False)]
    models = [train_language_model(r, CORPUS, CPU)[0] for r in recipes]
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in models]
    assert torch.equal(*weights) is same


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("implementation", ["scratch", "concise"])
def test_a_gpu_trains_as_the_cpu_does(implementation: str) -> None:
    chosen = recipe(implementation=implementation, num_val=60)
    rows = [history_rows(train_language_model(chosen, CORPUS, torch.device(d))[1]) for d in ("cpu", "cuda")]
    for cpu, cuda in zip(*rows, strict=True):
        assert cuda == pytest.approx(cpu, rel=1e-4)


def test_training_and_validation_windows_share_no_token() -> None:
    windows = recipe(sampling="windows", num_train=400, num_val=100, num_steps=8)
    assert training_range(windows, CORPUS) == (0, 408)
    assert validation_range(windows, CORPUS) == (408, 508)


def test_without_a_number_the_whole_train_part_is_read() -> None:
    assert training_range(recipe(num_train=None), CORPUS) == CORPUS.split["train"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_train": 10**6}, "num_train: 1000000 is too many: 1000000 tokens are needed"),
        ({"num_val": 10**6}, "num_val: 1000000 is not 0 or in"),
        ({"num_train": None, "num_val": None, "batch_size": 1, "num_steps": 450}, r"num_val: \d+ is not 0 or in"),
    ],
)
def test_a_recipe_that_does_not_fit_the_text_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        train_language_model(recipe(**changes), CORPUS, CPU)


def test_a_text_shorter_than_a_minibatch_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        train_language_model(recipe(num_train=None), corpus_of("the time machine"), CPU)


def test_without_a_number_the_whole_validation_part_is_scored_every_epoch() -> None:
    assert validation_range(recipe(num_train=None, num_val=None), CORPUS) == CORPUS.split["val"]


def test_early_stopping_keeps_the_weights_of_the_best_epoch() -> None:
    lstm = {"implementation": "concise", "cell": "lstm", "optimizer": "adamw", "lr": 0.2, "warmup": 0.3}
    chosen = recipe(**lstm, num_epochs=40, patience=3, num_val=None, num_train=None)
    model, history = train_language_model(chosen, CORPUS, CPU)
    values = [epoch.metrics["val_nats"] for epoch in history]
    assert len(values) == values.index(min(values)) + 1 + 3 < 40
    tokens = torch.from_numpy(CORPUS.part("val").astype("int64"))
    assert validation_nats(model, tokens, chosen) == min(values)


def test_held_out_text_is_never_read_while_training() -> None:
    other = CORPUS.tokens.copy()
    other[CORPUS.split["test"][0] :] = 1
    changed = replace(CORPUS, tokens=other)
    histories = [train_language_model(recipe(num_train=None, num_val=40), c, CPU)[1] for c in (CORPUS, changed)]
    assert history_rows(histories[0]) == history_rows(histories[1])
    assert not np.array_equal(CORPUS.tokens, other)
