"""Log-probabilities of the held-out parts of a corpus under every language model of the comparison."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays
from timemachine.language.comparison import mixture
from timemachine.language.comparison.config import CONTEXT_MIXING, CompareModelsParams, MixtureRecipe
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.ngrams.reading import read_adaptive_kneser_ney
from timemachine.language.scoring.score import Readings, held_out_readings, nats_of, read_distributions
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

KNESER_NEY, ADAPTIVE = "kneser_ney_", "_adaptive"


def read_models(
    scores: Path, corpus: Corpus, p: CompareModelsParams, recurrent: Iterable[str], mixed: Iterable[str]
) -> dict[str, Readings]:
    """Return the predictions of all models of a corpus, by name.

    Uniform and n-gram models have nats only.

    Args:
        scores: the folder `data/scores`.
        corpus: the corpus `p.corpus`.
        p: section `compare_models`. Kneser–Ney models in its mixtures are counted again, because their whole
            distributions are not stored.
        recurrent: names of the recurrent models, those of dynamic evaluation too.
        mixed: names of the context mixtures with recurrent models.

    Raises:
        UserError: a file is absent or damaged, one with distributions is about another corpus, or the train part
            is too short for a Kneser–Ney model.
    """
    nats = math.log(len(corpus.vocabulary))
    models: dict[str, Readings] = {"uniform": {part: np.full(len(corpus.part(part)), nats) for part in HELD_OUT}}
    arrays = read_arrays(scores / "ngram" / f"{p.corpus}.safetensors")
    for name in dict.fromkeys(key.rpartition(".")[0] for key in arrays):
        models[name] = {part: arrays[f"{name}.{part}"] for part in HELD_OUT}
    paths = {name: scores / "rnn" / f"{name}.safetensors" for name in recurrent}
    paths |= {CONTEXT_MIXING: scores / f"{CONTEXT_MIXING}.safetensors"}
    paths |= {name: scores / CONTEXT_MIXING / f"{name}.safetensors" for name in mixed}
    models |= {name: read_distributions(path, corpus) for name, path in paths.items()}
    for name in dict.fromkeys(name for recipe in p.mixtures.values() for name in recipe.models):
        if name.startswith(KNESER_NEY):
            models[name] = count_kneser_ney(corpus, name)
    return models


def count_kneser_ney(corpus: Corpus, name: str) -> Readings:
    """Return the predictions of a Kneser–Ney model on the held-out parts.

    Args:
        corpus: the model is counted on its train part.
        name: `kneser_ney_<order>`. With `_adaptive` appended, each token is counted after it is scored.

    Raises:
        UserError: the train part is shorter than the context.
    """
    order = int(name.removeprefix(KNESER_NEY).removesuffix(ADAPTIVE))
    first, last = corpus.split["val"][0], corpus.split["test"][1]
    if first < order:
        raise UserError(f"{name}: the train part has {first} tokens; its context alone is {order - 1}")
    if name.endswith(ADAPTIVE):
        return read_adaptive_kneser_ney(corpus, order)
    tokens = corpus.tokens.astype(np.int64)
    contexts = np.lib.stride_tricks.sliding_window_view(tokens, order - 1)
    before = contexts[first - order + 1 : last - order + 1]  # (last − first, order − 1)
    P = KneserNey(tokens[:first], len(corpus.vocabulary), order).distributions(before)
    return held_out_readings(np.log(P), corpus)


def mix(recipe: MixtureRecipe, models: Mapping[str, Readings], corpus: Corpus) -> tuple[Readings, list[float]]:
    """Return the predictions of a mixture, and its weights, which are fitted on the validation part."""
    chosen = [models[name] for name in recipe.models]
    if recipe.mean == "arithmetic":
        nats = {part: np.stack([model[part] for model in chosen]) for part in HELD_OUT}
        weights = mixture.fit_arithmetic(nats["val"])
        return {part: mixture.arithmetic_nats(nats[part], weights) for part in HELD_OUT}, weights.tolist()
    log_P = {part: np.stack([model[f"{part}.log_P"] for model in chosen]) for part in HELD_OUT}
    weights = mixture.fit_geometric(log_P["val"], corpus.part("val"))
    mixed: Readings = {}
    for part in HELD_OUT:
        P = mixed[f"{part}.log_P"] = mixture.geometric_log_probabilities(log_P[part], weights)
        mixed[part] = nats_of(P, corpus.part(part))
    return mixed, weights.tolist()
