"""n-gram models on held-out text, read forward and backward."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.chain import NgramModel, log_probabilities
from timemachine.language.ngrams.config import NgramModelsParams
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.ngrams.smoothing import SmoothedNgrams, fit_epsilon
from timemachine.language.scoring.bootstrap import bootstraps_by_part
from timemachine.language.scoring.score import score
from timemachine.text.corpus import HELD_OUT, Corpus, Part

# −log P of each token in the order of the text, by model, then by part.
Nats = dict[str, dict[Part, NDArray[np.float64]]]


def evaluate_ngram_models(
    corpus: Corpus, max_order: int, p: NgramModelsParams
) -> tuple[dict[str, Any], Nats, Nats]:
    """Count models on the train part and score each held-out token; its context may begin in the part before.

    Args:
        corpus: the corpus.
        max_order: highest order of the Kneser–Ney models.
        p: the knobs of the bootstrap. All orders of a part share its random blocks.

    Returns:
        The report: scores, ε chosen on the validation part, estimated discounts, and `arrow`, the bits per
        character forward minus backward, with the ends of its 95 % interval. The n-grams of a stationary source
        have the same entropy in both directions at every order, so that a difference can only come from estimates
        on few n-grams.

        The nats of `maximum_likelihood_<n>`, `additive_<n>` and `kneser_ney_<n>`, given the tokens before.

        The nats of `kneser_ney_<n>` counted on the reversed text, given the tokens after.
    """
    tokens, train, vocab_size = corpus.tokens, corpus.part("train"), len(corpus.vocabulary)
    ranges = {part: corpus.split[part] for part in HELD_OUT}
    orders = range(1, max_order + 1)
    additive = fit_epsilon(tokens[: corpus.split["val"][1]], len(train), vocab_size)
    kneser_ney, reverse = (KneserNey(text, vocab_size, max_order) for text in (train, train[::-1]))
    models: list[tuple[str, NgramModel, int]] = [
        ("maximum_likelihood", SmoothedNgrams(train, vocab_size, vocab_size, (0.0, 0.0, 0.0)), 3),
        ("additive", additive, 3),
        ("kneser_ney", kneser_ney, max_order),
    ]
    forward: Nats = {
        f"{name}_{n}": {
            part: -log_probabilities(model, tokens[:end], n, begin) for part, (begin, end) in ranges.items()
        }
        for name, model, last in models
        for n in range(1, last + 1)
    }
    backward: Nats = {
        f"kneser_ney_{n}": {  # the text as read from the end
            part: -log_probabilities(reverse, tokens[begin:][::-1], n, len(tokens) - end)[::-1]
            for part, (begin, end) in ranges.items()
        }
        for n in orders
    }
    bootstraps = bootstraps_by_part(corpus, p.block_length, p.num_samples, p.seed)
    report = {
        "epsilon": additive.epsilon,
        "discounts": {
            "counts": {str(n): kneser_ney.discounts(n)[-1] for n in orders},
            "continuations": {str(n): d for n, d in enumerate(kneser_ney.discounts(max_order)[:-1], 1)},
        },
        "models": _scores(forward, corpus),
        "reversed": _scores(backward, corpus),
        "arrow": {
            name: {part: b.bits(forward[name][part] - nats[part]) for part, b in bootstraps.items()}
            for name, nats in backward.items()
        },
    }
    return report, forward, backward


def _scores(nats: Nats, corpus: Corpus) -> dict[str, dict[str, Any]]:
    return {
        name: {part: score(float(n.sum()), corpus.part(part), corpus) for part, n in by_part.items()}
        for name, by_part in nats.items()
    }
