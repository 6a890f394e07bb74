import bz2
from dataclasses import replace

import numpy as np
import pytest
from cycle import CORPUS
from tiny import tiny_params

from timemachine.language.comparison.comparison import HeldOut, compressors, mix, over_seeds, rank, read_kneser_ney
from timemachine.language.comparison.config import MixtureRecipe
from timemachine.language.models.config import RnnRecipe
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.text.corpus import HELD_OUT, Corpus

VOCAB_SIZE = 4
RANDOM = Corpus(
    np.random.default_rng(0).integers(1, VOCAB_SIZE, 1200).astype(np.uint8),
    CORPUS.vocabulary,
    "char",
    0.0,
    {"train": (0, 800), "val": (800, 1000), "test": (1000, 1200)},
)


def test_kneser_ney_in_the_comparison_is_the_model_counted_on_the_train_part() -> None:
    counted = KneserNey(RANDOM.part("train"), VOCAB_SIZE, 3)
    found = read_kneser_ney(RANDOM, "kneser_ney_3", every=100)
    for part in HELD_OUT:
        begin, end = RANDOM.split[part]
        expected = -counted.log_probabilities(RANDOM.tokens[:end], 3, begin)
        assert found.nats[part] == pytest.approx(expected)
        assert np.exp(found.log_P[part]).sum(1) == pytest.approx(np.ones(200))


def test_the_adaptive_model_counts_what_it_has_scored_and_nothing_after() -> None:
    tokens = RANDOM.tokens.copy()
    tokens[900:1000] = 1
    changed = replace(RANDOM, tokens=tokens)
    before, after = (read_kneser_ney(corpus, "kneser_ney_2_adaptive", every=50) for corpus in (RANDOM, changed))
    static = read_kneser_ney(changed, "kneser_ney_2", every=50)
    assert np.array_equal(before.nats["val"][:100], after.nats["val"][:100])
    assert after.nats["val"][150:].mean() < static.nats["val"][150:].mean()


def test_a_train_part_shorter_than_the_context_is_an_error() -> None:
    with pytest.raises(ValueError, match="kneser_ney_99: the train part has 96 tokens; its context alone is 98"):
        read_kneser_ney(CORPUS, "kneser_ney_99", every=50)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_weights_come_from_the_validation_part_alone(mean: str) -> None:
    models = {name: read_kneser_ney(RANDOM, name, 50) for name in ("kneser_ney_1", "kneser_ney_3")}
    recipe = MixtureRecipe(mean=mean, models=list(models))  # type: ignore[arg-type]
    spoilt = {
        name: HeldOut(
            model.nats | {"test": model.nats["test"][::-1]}, model.log_P | {"test": model.log_P["test"][::-1]}
        )
        for name, model in models.items()
    }
    assert mix(recipe, models, RANDOM)[1] == mix(recipe, spoilt, RANDOM)[1]


def test_models_are_ranked_by_their_test_score_and_one_with_probability_0_is_last() -> None:
    nats = {"fair": 1.0, "impossible": np.inf, "perfect": 0.0, "good": 0.5}
    models = {name: HeldOut({part: np.full(200, n) for part in HELD_OUT}, {}) for name, n in nats.items()}
    ranked = rank(models, RANDOM, 10, 20, np.random.default_rng(0))
    assert list(ranked) == ["perfect", "good", "fair", "impossible"]
    assert ranked["good"]["test"]["low"] == pytest.approx(ranked["good"]["test"]["high"])
    assert ranked["impossible"]["test"]["nats"] is None


def test_how_far_a_model_is_behind_the_best_has_an_interval_of_its_own() -> None:
    rng = np.random.default_rng(0)
    hard = rng.exponential(2.0, 200)  # what both find hard makes their own intervals wide
    models = {name: HeldOut(dict.fromkeys(HELD_OUT, hard + ahead), {}) for name, ahead in [("a", 0), ("b", 0.1)]}
    row = rank(models, RANDOM, 10, 200, rng)["b"]["test"]
    assert row["behind"]["low"] == pytest.approx(row["behind"]["bits_per_character"]) == row["behind"]["high"]
    assert row["high"] - row["low"] > 0.5


def test_recipes_that_differ_in_their_seed_alone_are_summed_up() -> None:
    recipe = RnnRecipe(**tiny_params()["train_rnn"]["gated"])
    recipes = {"a": recipe, "b": recipe.model_copy(update={"seed": 5}), "c": recipe.model_copy(update={"lr": 0.5})}
    mixtures = {
        f"mixed_{name}": MixtureRecipe(mean="geometric", models=[name, "kneser_ney_3"]) for name in ("a", "b", "c")
    }
    bits = {"a": 2.0, "b": 2.2, "c": 9.0, "a_dynamic": 1.0, "b_dynamic": 1.2, "mixed_a": 0.5, "mixed_b": 0.7}
    scores = {name: {part: {"bits_per_character": b} for part in HELD_OUT} for name, b in bits.items()}
    summary = over_seeds(scores, recipes, mixtures)
    assert {first: group["models"] for first, group in summary.items()} == {
        "a": ["a", "b"],
        "a_dynamic": ["a_dynamic", "b_dynamic"],
        "mixed_a": ["mixed_a", "mixed_b"],
    }
    assert summary["a"]["test"] == pytest.approx({"mean": 2.1, "std": 0.02**0.5})


def test_a_compressor_is_charged_for_what_the_part_adds() -> None:
    text = CORPUS.tokenizer.decode(RANDOM.tokens.tolist()).encode()
    grown = len(bz2.compress(text)) - len(bz2.compress(text[:1000]))
    assert compressors(RANDOM)["bz2"]["test"] == pytest.approx(8 * grown / 200)
