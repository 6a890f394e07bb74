"""n-gram models on held-out text, read forward and backward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.config import NgramModelsParams
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.ngrams.smoothing import SmoothedNgrams, choose_epsilon
from timemachine.language.scoring.bootstrap import bootstraps_by_part
from timemachine.language.scoring.score import Score
from timemachine.text.corpus import HELD_OUT, Corpus, Part

# −log P of each token in the order of the text, by model, then by part.
Nats = dict[str, dict[Part, NDArray[np.float64]]]


@dataclass(frozen=True)
class NgramModels:
    """Models counted on the train part of a corpus, and their predictions on the held-out parts.

    Attributes:
        epsilon: ε of additive smoothing, chosen on the validation part.
        kneser_ney: Kneser–Ney models of all orders.
        forward: nats of `maximum_likelihood_<n>`, `additive_<n>` and `kneser_ney_<n>`, given the tokens before.
        backward: nats of `kneser_ney_<n>` counted on the reversed text, given the tokens after.
    """

    epsilon: tuple[float, float, float]
    kneser_ney: KneserNey
    forward: Nats
    backward: Nats


def score_ngram_models(corpus: Corpus, max_order: int) -> NgramModels:
    """Count on the train part and score each held-out token; its context may begin in the part before."""
    tokens, train, vocab_size = corpus.tokens, corpus.part("train"), len(corpus.vocabulary)
    # m is the size of the vocabulary, so that unseen tokens have a probability and all probabilities sum to 1.
    epsilon = choose_epsilon(tokens[: corpus.split["val"][1]], len(train), vocab_size, vocab_size)
    likelihood = SmoothedNgrams(train, vocab_size, vocab_size, (0.0, 0.0, 0.0))
    additive = SmoothedNgrams(train, vocab_size, vocab_size, epsilon)
    kneser_ney = KneserNey(train, vocab_size, max_order)
    models: list[tuple[str, SmoothedNgrams | KneserNey, int]] = [
        ("maximum_likelihood", likelihood, 3),
        ("additive", additive, 3),
        ("kneser_ney", kneser_ney, max_order),
    ]
    ranges = {part: corpus.split[part] for part in HELD_OUT}
    forward: Nats = {
        f"{name}_{n}": {
            part: -model.log_probabilities(tokens[:end], n, begin) for part, (begin, end) in ranges.items()
        }
        for name, model, last in models
        for n in range(1, last + 1)
    }
    reverse = KneserNey(train[::-1], vocab_size, max_order)
    backward: Nats = {f"kneser_ney_{n}": {} for n in range(1, max_order + 1)}
    for n, nats in enumerate(backward.values(), 1):
        for part, (begin, end) in ranges.items():  # the text as read from the end
            nats[part] = -reverse.log_probabilities(tokens[begin:][::-1], n, len(tokens) - end)[::-1]
    return NgramModels(epsilon, kneser_ney, forward, backward)


def describe_ngram_models(models: NgramModels, corpus: Corpus, p: NgramModelsParams) -> dict[str, Any]:
    """Return the report of a corpus: scores, chosen ε, estimated discounts, and the arrow of time.

    `arrow` is the bits per character forward minus backward, with the ends of its 95 % interval. The n-grams of a
    stationary source have the same entropy in both directions at every order, so that a difference can only come
    from estimates on few n-grams.

    Args:
        models: what `score_ngram_models` returned.
        corpus: the corpus of the models.
        p: the knobs of the bootstrap. All orders of a part share its random blocks.
    """
    orders = range(1, models.kneser_ney.max_order + 1)
    discounts = {n: models.kneser_ney.discounts(n) for n in orders}
    arrow: dict[str, Any] = {name: {} for name in models.backward}
    for part, bootstrap in bootstraps_by_part(corpus, p.block_length, p.num_samples, p.seed).items():
        for name, backward in models.backward.items():
            arrow[name][part] = bootstrap.bits(models.forward[name][part] - backward[part])
    return {
        "epsilon": list(models.epsilon),
        "discounts": {
            "counts": {str(n): discounts[n][-1] for n in orders},
            "continuations": {str(n): d for n, d in enumerate(discounts[orders[-1]][:-1], 1)},
        },
        "models": _scores(models.forward, corpus),
        "reversed": _scores(models.backward, corpus),
        "arrow": arrow,
    }


def _scores(nats: Nats, corpus: Corpus) -> dict[str, dict[str, Any]]:
    return {
        name: {part: Score.of(n, corpus, corpus.split[part][1]).report() for part, n in by_part.items()}
        for name, by_part in nats.items()
    }
