import bz2

import numpy as np
import pytest
from cycle import CORPUS, RANDOM

from timemachine.language.comparison.compression import compressed_bits_per_character
from timemachine.language.comparison.config import CompareModelsParams
from timemachine.language.comparison.ranking import rank
from timemachine.text.tokens.corpus import HELD_OUT

VOCAB_SIZE = 4
PARAMS = CompareModelsParams(corpus="random", mixtures={}, block_length=10, num_samples=200)


def test_models_are_ranked_by_their_test_score_and_one_with_probability_0_is_last() -> None:
    nats = {"fair": 1.0, "impossible": np.inf, "perfect": 0.0, "good": 0.5}
    models = {name: {part: np.full(200, n) for part in HELD_OUT} for name, n in nats.items()}
    ranked = rank(models, RANDOM, PARAMS)
    assert list(ranked) == ["perfect", "good", "fair", "impossible"]
    assert ranked["good"]["test"]["low"] == pytest.approx(ranked["good"]["test"]["high"])
    assert ranked["impossible"]["test"]["nats"] is None


def test_how_far_a_model_is_behind_the_best_has_an_interval_of_its_own() -> None:
    rng = np.random.default_rng(0)
    hard = rng.exponential(2.0, 200)  # what both find hard makes their own intervals wide
    models = {name: dict.fromkeys(HELD_OUT, hard + ahead) for name, ahead in [("a", 0), ("b", 0.1)]}
    row = rank(models, RANDOM, PARAMS)["b"]["test"]
    assert row["behind"]["low"] == pytest.approx(row["behind"]["bits_per_character"]) == row["behind"]["high"]
    assert row["high"] - row["low"] > 0.5


def test_another_model_changes_no_score_and_no_interval() -> None:
    rng = np.random.default_rng(0)
    models = {name: {part: rng.exponential(2.0, 200) for part in HELD_OUT} for name in "abc"}
    worst = dict.fromkeys(HELD_OUT, np.full(200, 9.0))
    before = rank(models, RANDOM, PARAMS)
    after = rank({"first": worst} | models | {"last": worst}, RANDOM, PARAMS)
    assert {name: after[name] for name in before} == before


def test_a_compressor_is_charged_for_what_the_part_adds() -> None:
    text = CORPUS.tokenizer.decode(RANDOM.tokens.tolist()).encode()
    grown = len(bz2.compress(text)) - len(bz2.compress(text[:1000]))
    assert compressed_bits_per_character(RANDOM, 800)["bz2"]["test"] == pytest.approx(8 * grown / 200)
    grown = len(bz2.compress(text[700:1000])) - len(bz2.compress(text[700:800]))
    assert compressed_bits_per_character(RANDOM, 100)["bz2"]["val"] == pytest.approx(8 * grown / 200)
