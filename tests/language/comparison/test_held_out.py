from dataclasses import replace

import numpy as np
import pytest
from cycle import CORPUS, RANDOM

from timemachine.language.comparison.config import MixtureRecipe
from timemachine.language.comparison.held_out import count_kneser_ney, mix
from timemachine.language.ngrams.chain import log_probabilities
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.text.tokens.corpus import HELD_OUT

VOCAB_SIZE = 4


def test_kneser_ney_in_the_comparison_is_the_model_counted_on_the_train_part() -> None:
    counted = KneserNey(RANDOM.part("train"), VOCAB_SIZE, 3)
    found = count_kneser_ney(RANDOM, ["kneser_ney_3", "kneser_ney_4"], 1)["kneser_ney_3"]
    for part in HELD_OUT:
        begin, end = RANDOM.split[part]
        expected = -log_probabilities(counted, RANDOM.tokens[:end], 3, begin)
        assert found[part] == pytest.approx(expected)
        assert np.exp(found[f"{part}.log_P"]).sum(1) == pytest.approx(np.ones(200))


def test_the_adaptive_model_counts_what_it_has_scored_and_nothing_after() -> None:
    tokens = RANDOM.tokens.copy()
    tokens[900:1000] = 1
    changed = replace(RANDOM, tokens=tokens)
    names = ["kneser_ney_2", "kneser_ney_2_adaptive"]
    (_, before), (static, after) = (count_kneser_ney(c, names, 800).values() for c in (RANDOM, changed))
    assert np.array_equal(before["val"][:100], after["val"][:100])
    assert np.array_equal(before["val.log_P"][100], after["val.log_P"][100])
    assert after["val"][150:].mean() < static["val"][150:].mean()


def test_a_train_part_shorter_than_the_context_is_an_error() -> None:
    with pytest.raises(ValueError, match="kneser_ney_99: the train part has 96 tokens; its context alone is 98"):
        count_kneser_ney(CORPUS, ["kneser_ney_99"], 96)


def test_the_adaptive_model_counts_the_last_tokens_of_the_train_part_only() -> None:
    cut = replace(
        RANDOM, tokens=RANDOM.tokens[500:], split={"train": (0, 300), "val": (300, 500), "test": (500, 700)}
    )
    limited, short = (count_kneser_ney(c, ["kneser_ney_2_adaptive"], 300) for c in (RANDOM, cut))
    assert np.array_equal(limited["kneser_ney_2_adaptive"]["val"], short["kneser_ney_2_adaptive"]["val"])


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_weights_come_from_the_validation_part_alone(mean: str) -> None:
    models = count_kneser_ney(RANDOM, ["kneser_ney_1", "kneser_ney_3"], 1)
    recipe = MixtureRecipe(mean=mean, models=list(models))  # type: ignore[arg-type]
    spoilt = {
        name: model | {"test": model["test"][::-1], "test.log_P": model["test.log_P"][::-1]}
        for name, model in models.items()
    }
    assert mix(recipe, models, RANDOM)[1] == mix(recipe, spoilt, RANDOM)[1]
