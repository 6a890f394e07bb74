"""Log-probabilities of the held-out parts of a corpus under every language model of the comparison."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays
from timemachine.language.comparison import mixture
from timemachine.language.comparison.config import CONTEXT_MIXING, CompareModelsParams, MixtureRecipe
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.ngrams.reading import read_adaptive_kneser_ney
from timemachine.language.scoring.score import Readings, blocks_of, held_out_readings, read_distributions
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

KNESER_NEY, ADAPTIVE = "kneser_ney_", "_adaptive"


def read_models(
    scores: Path, corpus: Corpus, p: CompareModelsParams, recurrent: Iterable[str], mixed: Iterable[str]
) -> dict[str, Readings]:
    """Return the predictions of all models of a corpus, by name.

    Models that no geometric mixture mixes have nats only.

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
    mixed_whole = {name for recipe in p.mixtures.values() if recipe.mean == "geometric" for name in recipe.models}
    for name, path in paths.items():
        models[name] = read_distributions(path, corpus)
        if name not in mixed_whole:  # of a long text all distributions would not fit into memory
            models[name] = {part: models[name][part] for part in HELD_OUT}
    names = dict.fromkeys(name for recipe in p.mixtures.values() for name in recipe.models)
    return models | count_kneser_ney(corpus, [n for n in names if n.startswith(KNESER_NEY)], p.max_tokens)


def count_kneser_ney(corpus: Corpus, names: Sequence[str], max_tokens: int) -> dict[str, Readings]:
    """Return the predictions of Kneser–Ney models on the held-out parts, by name.

    Args:
        corpus: the models are counted on its train part, all in one go.
        names: each `kneser_ney_<order>`. With `_adaptive` appended, a model counts each token after it is scored.
        max_tokens: number of the last tokens of the train part that an adaptive model counts before; it counts
            them one by one.

    Raises:
        UserError: the train part is shorter than the context.
    """
    orders = {name: int(name.removeprefix(KNESER_NEY).removesuffix(ADAPTIVE)) for name in names}
    first, last = corpus.split["val"][0], corpus.split["test"][1]
    for name, order in orders.items():
        if first < order:
            raise UserError(f"{name}: the train part has {first} tokens; its context alone is {order - 1}")
    readings = {
        name: read_adaptive_kneser_ney(corpus, order, max_tokens)
        for name, order in orders.items()
        if name.endswith(ADAPTIVE)
    }
    if static := {name: order for name, order in orders.items() if name not in readings}:
        model = KneserNey(corpus.part("train"), len(corpus.vocabulary), max(static.values()))
        for name, order in static.items():
            tokens = corpus.tokens[first - order + 1 : last - 1].astype(np.int64)
            contexts = np.lib.stride_tricks.sliding_window_view(tokens, order - 1)  # (last − first, order − 1)
            blocks = (np.log(model.distributions(contexts[b]))[:, None] for b in blocks_of(last - first))
            [readings[name]] = held_out_readings(blocks, corpus)
    return {name: readings[name] for name in names}


def mix(recipe: MixtureRecipe, models: Mapping[str, Readings], corpus: Corpus) -> tuple[Readings, list[float]]:
    """Return the nats of a mixture, and its weights, which are fitted on the validation part."""
    chosen = [models[name] for name in recipe.models]
    if recipe.mean == "arithmetic":
        nats = {part: np.stack([model[part] for model in chosen]) for part in HELD_OUT}
        weights = mixture.fit_arithmetic(nats["val"])
        return {part: mixture.arithmetic_nats(nats[part], weights) for part in HELD_OUT}, weights.tolist()
    log_P = {part: [model[f"{part}.log_P"] for model in chosen] for part in HELD_OUT}
    weights = mixture.fit_geometric(log_P["val"], corpus.part("val"))
    mixed: Readings = {part: mixture.geometric_nats(log_P[part], weights, corpus.part(part)) for part in HELD_OUT}
    return mixed, weights.tolist()
