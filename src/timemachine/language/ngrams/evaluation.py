"""n-gram models on held-out text, read forward and backward."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timemachine.language.ngrams.chain import NgramModel, log_probabilities_by_order
from timemachine.language.ngrams.config import NgramModelsParams
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.ngrams.smoothing import ORDERS, SmoothedNgrams, fit_epsilon
from timemachine.language.ngrams.trie import Trie
from timemachine.language.scoring.bootstrap import bootstraps_by_part
from timemachine.language.scoring.score import score
from timemachine.text.tokens.corpus import HELD_OUT, Corpus, Part

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

    Raises:
        UserError: there are 2³¹ tokens or more.
    """
    vocab_size, cut = len(corpus.vocabulary), corpus.split["val"][0]
    trie = Trie.count(corpus.part("train"), vocab_size, max(max_order, ORDERS[-1]))
    forward, described = _read_forward(corpus, trie, max_order)
    reverse = trie.reversed()
    del trie
    from_end = reverse.ids(corpus.tokens[cut:][::-1], max_order)
    backward: Nats = {}
    for n, log_P in enumerate(log_probabilities_by_order(KneserNey.of(reverse), from_end, 0), 1):
        backward[f"kneser_ney_{n}"] = _by_part(-log_P[::-1], corpus)
    bootstraps = bootstraps_by_part(corpus, p.block_length, p.num_samples, p.seed)
    report = described | {
        "models": _scores(forward, corpus),
        "reversed": _scores(backward, corpus),
        "arrow": {
            name: {part: b.bits(forward[name][part] - nats[part]) for part, b in bootstraps.items()}
            for name, nats in backward.items()
        },
    }
    return report, forward, backward


def _read_forward(corpus: Corpus, trie: Trie, max_order: int) -> tuple[Nats, dict[str, Any]]:
    """Return the nats of all models of the n-grams, and `epsilon` and `discounts` of the report."""
    cut, end = corpus.split["val"]
    begin = max(cut - trie.max_order + 1, 0)
    additive = fit_epsilon(trie, corpus.tokens[begin:end], cut - begin)
    kneser_ney = KneserNey.of(trie)
    models: list[tuple[str, NgramModel, int]] = [
        ("maximum_likelihood", SmoothedNgrams(trie, (0.0, 0.0, 0.0)), ORDERS[-1]),
        ("additive", additive, ORDERS[-1]),
        ("kneser_ney", kneser_ney, max_order),
    ]
    ids = trie.ids(corpus.tokens[begin:], trie.max_order)
    nats = {
        f"{name}_{n}": _by_part(-log_P, corpus)
        for name, model, last in models
        for n, log_P in enumerate(log_probabilities_by_order(model, ids[: last + 1], cut - begin), 1)
    }
    counts = {str(n): kneser_ney.discounts(n)[-1] for n in range(1, max_order + 1)}
    continuations = {str(n): d for n, d in enumerate(kneser_ney.discounts(max_order)[:-1], 1)}
    return nats, {
        "epsilon": additive.epsilon,
        "discounts": {"counts": counts, "continuations": continuations},
    }


def _by_part(nats: NDArray[np.float64], corpus: Corpus) -> dict[Part, NDArray[np.float64]]:
    """Return the parts of the nats of all held-out tokens."""
    first = corpus.split["val"][0]
    return {part: nats[corpus.split[part][0] - first : corpus.split[part][1] - first] for part in HELD_OUT}


def _scores(nats: Nats, corpus: Corpus) -> dict[str, dict[str, Any]]:
    return {
        name: {part: score(float(n.sum()), corpus.part(part), corpus) for part, n in by_part.items()}
        for name, by_part in nats.items()
    }
