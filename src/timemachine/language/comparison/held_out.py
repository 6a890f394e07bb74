"""Log-probabilities of the held-out parts of a corpus under every language model of the comparison."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays
from timemachine.language.comparison.config import CompareModelsParams, MixtureRecipe
from timemachine.language.comparison.mixture import (
    arithmetic_nats,
    fit_arithmetic,
    fit_geometric,
    geometric_log_probabilities,
    nats_of,
)
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.text.corpus import HELD_OUT, Corpus, Part

Array = NDArray[np.float64]
KNESER_NEY, ADAPTIVE, DYNAMIC = "kneser_ney_", "_adaptive", "_dynamic"


@dataclass(frozen=True)
class HeldOut:
    """The predictions of one model on the held-out parts.

    Attributes:
        nats: −log P of each token (num_tokens,), by part.
        log_P: log P of every token of the vocabulary at each place (num_tokens, vocab), by part; empty if only
            the nats were stored.
    """

    nats: dict[Part, Array]
    log_P: dict[Part, Array]


def read_models(
    scores: Path, corpus: Corpus, p: CompareModelsParams, recipes: Iterable[str], dynamic: Iterable[str]
) -> dict[str, HeldOut]:
    """Return the predictions of all models of a corpus, by name: uniform, n-gram, recurrent, dynamic evaluation.

    Args:
        scores: the folder `data/scores`.
        corpus: the corpus `p.corpus`.
        p: section `compare_models`. Kneser–Ney models in its mixtures are counted again, because their whole
            distributions are not stored.
        recipes: names of the recurrent models of the corpus.
        dynamic: names of those that are also scored by dynamic evaluation.

    Raises:
        UserError: a file is absent or damaged, or the train part is too short for a Kneser–Ney model.
    """
    nats = math.log(len(corpus.vocabulary))
    held_out = {"uniform": HeldOut({part: np.full(len(corpus.part(part)), nats) for part in HELD_OUT}, {})}
    arrays = read_arrays(scores / "ngram" / f"{p.corpus}.safetensors")
    for name in dict.fromkeys(key.rpartition(".")[0] for key in arrays):
        held_out[name] = HeldOut({part: arrays[f"{name}.{part}"] for part in HELD_OUT}, {})
    paths = {name: scores / "rnn" / f"{name}.safetensors" for name in recipes}
    paths |= {name + DYNAMIC: scores / "dynamic" / f"{name}.safetensors" for name in dynamic}
    for name, path in paths.items():
        arrays = read_arrays(path)
        log_P = {part: arrays[f"{part}.log_P"].astype(np.float64) for part in HELD_OUT}
        held_out[name] = HeldOut({part: arrays[part] for part in HELD_OUT}, log_P)
    for name in dict.fromkeys(name for mixture in p.mixtures.values() for name in mixture.models):
        if name.startswith(KNESER_NEY):
            held_out[name] = count_kneser_ney(corpus, name, p.adapt_every)
    return held_out


def count_kneser_ney(corpus: Corpus, name: str, every: int) -> HeldOut:
    """Return the predictions of a Kneser–Ney model on the held-out parts.

    Args:
        corpus: the model is counted on its train part.
        name: `kneser_ney_<order>`. With `_adaptive` appended, the model is counted again after every `every`
            scored tokens, on all the text before.
        every: tokens between two counts of an adaptive model.

    Raises:
        UserError: the train part is shorter than the context.
    """
    order = int(name.removeprefix(KNESER_NEY).removesuffix(ADAPTIVE))
    tokens, vocab_size = corpus.tokens.astype(np.int64), len(corpus.vocabulary)
    first, last = corpus.split["val"][0], corpus.split["test"][1]
    if first < order:
        raise UserError(f"{name}: the train part has {first} tokens; its context alone is {order - 1}")
    contexts = (
        np.lib.stride_tricks.sliding_window_view(tokens, order - 1) if order > 1 else np.empty((last, 0), np.int64)
    )
    before = contexts[first - order + 1 : last - order + 1]  # (last − first, order − 1)
    steps = range(first, last, every) if name.endswith(ADAPTIVE) else [first]
    P = [
        KneserNey(tokens[:begin], vocab_size, order).distributions(before[begin - first : end - first])
        for begin, end in zip(steps, [*steps[1:], last], strict=True)
    ]
    log_P = np.log(np.concatenate(P))
    nats = nats_of(log_P, tokens[first:last])
    ranges = {part: slice(corpus.split[part][0] - first, corpus.split[part][1] - first) for part in HELD_OUT}
    return HeldOut({p: nats[r] for p, r in ranges.items()}, {p: log_P[r] for p, r in ranges.items()})


def mix(recipe: MixtureRecipe, models: Mapping[str, HeldOut], corpus: Corpus) -> tuple[HeldOut, list[float]]:
    """Return the predictions of a mixture, and its weights, which are fitted on the validation part."""
    chosen = [models[name] for name in recipe.models]
    if recipe.mean == "arithmetic":
        nats = {part: np.stack([model.nats[part] for model in chosen]) for part in HELD_OUT}
        weights = fit_arithmetic(nats["val"])
        return HeldOut({part: arithmetic_nats(nats[part], weights) for part in HELD_OUT}, {}), weights.tolist()
    log_P = {part: np.stack([model.log_P[part] for model in chosen]) for part in HELD_OUT}
    tokens = {part: corpus.part(part).astype(np.int64) for part in HELD_OUT}
    weights = fit_geometric(log_P["val"], tokens["val"])
    mixed = {part: geometric_log_probabilities(log_P[part], weights) for part in HELD_OUT}
    nats = {part: nats_of(mixed[part], tokens[part]) for part in HELD_OUT}
    return HeldOut(nats, mixed), weights.tolist()
