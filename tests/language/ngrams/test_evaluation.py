import numpy as np
import pytest

from timemachine.language.ngrams.config import NgramModelsParams
from timemachine.language.ngrams.evaluation import evaluate_ngram_models
from timemachine.text.tokens.corpus import HELD_OUT, Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

SPLIT = {"train": (0, 800), "val": (800, 900), "test": (900, 1000)}
VOCABULARY = Vocabulary(["<unk>", "a", "b", "c"])


def corpus(tokens: np.ndarray) -> Corpus:
    return Corpus(tokens.astype(np.uint8), VOCABULARY, "char", 0.0, SPLIT)


PARAMS = NgramModelsParams(corpora={"random": 2}, block_length=10, num_samples=200)
RANDOM = np.random.default_rng(0).integers(1, 4, 1000)


def test_a_text_and_its_mirror_image_change_places() -> None:
    text = np.concatenate([RANDOM[:800], RANDOM[100:200], RANDOM[100:200][::-1]])
    mirrored = np.concatenate([text[:800][::-1], text[800:]])
    (_, forward, _), (_, _, backward) = (evaluate_ngram_models(corpus(t), 3, PARAMS) for t in (text, mirrored))
    for n in (1, 2, 3):
        val, test = (forward[f"kneser_ney_{n}"][part] for part in HELD_OUT)
        # The parts are each other's mirror image, and only their first tokens have other contexts.
        back = backward[f"kneser_ney_{n}"]
        assert back["test"][::-1][2:] == pytest.approx(val[2:])
        assert back["val"][::-1][2:] == pytest.approx(test[2:])


def test_the_order_of_one_token_knows_no_direction() -> None:
    _, forward, backward = evaluate_ngram_models(corpus(RANDOM), 1, PARAMS)
    for part in HELD_OUT:
        assert forward["kneser_ney_1"][part] == pytest.approx(backward["kneser_ney_1"][part])


def test_contexts_reach_across_the_borders_of_parts() -> None:
    cycle = corpus(np.tile([1, 2, 3, 1], 250))
    nats = evaluate_ngram_models(cycle, 2, PARAMS)[1]["maximum_likelihood_3"]
    assert [nats[part].max() for part in HELD_OUT] == [pytest.approx(0), pytest.approx(0)]


def test_the_interval_of_the_arrow_holds_the_difference() -> None:
    content, _, _ = evaluate_ngram_models(corpus(RANDOM), 2, PARAMS)
    for part in HELD_OUT:
        forward, backward = (
            content[k]["kneser_ney_2"][part]["bits_per_character"] for k in ("models", "reversed")
        )
        arrow = content["arrow"]["kneser_ney_2"][part]
        assert arrow["bits_per_character"] == pytest.approx(forward - backward)
        assert arrow["low"] <= arrow["bits_per_character"] <= arrow["high"]


def test_another_order_changes_no_interval() -> None:
    few, more = (evaluate_ngram_models(corpus(RANDOM), order, PARAMS)[0]["arrow"] for order in (2, 3))
    assert {name: more[name] for name in few} == few
