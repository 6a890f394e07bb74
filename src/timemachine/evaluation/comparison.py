"""All language models of a corpus side by side: mixed, ranked, with intervals and what compressors need."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine import plots
from timemachine.evaluation.bootstrap import mean_interval
from timemachine.evaluation.compression import COMPRESSORS, compressed_bits_per_character
from timemachine.evaluation.mixture import (
    arithmetic_nats,
    fit_arithmetic,
    fit_geometric,
    geometric_log_probabilities,
)
from timemachine.evaluation.score import Score
from timemachine.files import read_arrays
from timemachine.ngrams.kneser_ney import KneserNey
from timemachine.params import MixtureRecipe, RnnRecipe
from timemachine.text.corpus import HELD_OUT, Corpus, Part

Array = NDArray[np.float64]
KNESER_NEY, ADAPTIVE, DYNAMIC = "kneser_ney_", "_adaptive", "_dynamic"


@dataclass(frozen=True)
class HeldOut:
    """What a model made of the parts held out.

    Attributes:
        nats: by part (num_tokens,).
        log_P: by part (num_tokens, vocab), where it was kept.
    """

    nats: dict[Part, Array]
    log_P: dict[Part, Array]


def read_held_out(
    scores: Path, corpus_name: str, recurrent: Iterable[str], dynamic: Iterable[str]
) -> dict[str, HeldOut]:
    """Return what the n-gram models and the named recurrent ones made of a corpus, as their stages wrote it.

    Raises:
        ValueError: a file is absent or damaged.
    """
    arrays = read_arrays(scores / "ngram" / f"{corpus_name}.safetensors")
    names = dict.fromkeys(key.rpartition(".")[0] for key in arrays)
    held_out = {name: HeldOut({part: arrays[f"{name}.{part}"] for part in HELD_OUT}, {}) for name in names}
    paths = {name: scores / "rnn" / name for name in recurrent}
    paths |= {name + DYNAMIC: scores / "dynamic" / name for name in dynamic}
    for name, path in paths.items():
        arrays = read_arrays(path.with_suffix(".safetensors"))
        log_P = {
            part: arrays[f"{part}.log_P"].astype(np.float64) for part in HELD_OUT if f"{part}.log_P" in arrays
        }
        held_out[name] = HeldOut({part: arrays[part] for part in HELD_OUT}, log_P)
    return held_out


def read_kneser_ney(corpus: Corpus, name: str, every: int) -> HeldOut:
    """Return what a Kneser–Ney model makes of the held-out parts.

    Args:
        corpus: counted on its train part.
        name: `kneser_ney_<order>`; with `_adaptive` behind it the model is counted anew, on all the text
            before, after every `every` tokens that it has scored.
        every: tokens.

    Raises:
        ValueError: the train part is shorter than the context.
    """
    order = int(name.removeprefix(KNESER_NEY).removesuffix(ADAPTIVE))
    tokens, vocab_size = corpus.tokens.astype(np.int64), len(corpus.vocabulary)
    first, last = corpus.split["val"][0], corpus.split["test"][1]
    if first < order:
        raise ValueError(f"{name}: the train part has {first} tokens; its context alone is {order - 1}")
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
    nats = -np.take_along_axis(log_P, tokens[first:last, None], 1)[:, 0]
    ranges = {part: slice(corpus.split[part][0] - first, corpus.split[part][1] - first) for part in HELD_OUT}
    return HeldOut({p: nats[r] for p, r in ranges.items()}, {p: log_P[r] for p, r in ranges.items()})


def mix(recipe: MixtureRecipe, models: Mapping[str, HeldOut], corpus: Corpus) -> tuple[HeldOut, list[float]]:
    """Return a mixture whose weights are fitted on the validation part, and these weights."""
    chosen = [models[name] for name in recipe.models]
    if recipe.mean == "arithmetic":
        nats = {part: np.stack([model.nats[part] for model in chosen]) for part in HELD_OUT}
        weights = fit_arithmetic(nats["val"])
        return HeldOut({part: arithmetic_nats(nats[part], weights) for part in HELD_OUT}, {}), weights.tolist()
    log_P = {part: np.stack([model.log_P[part] for model in chosen]) for part in HELD_OUT}
    tokens = {part: corpus.part(part).astype(np.int64) for part in HELD_OUT}
    weights = fit_geometric(log_P["val"], tokens["val"])
    mixed = {part: geometric_log_probabilities(log_P[part], weights) for part in HELD_OUT}
    nats = {part: -np.take_along_axis(mixed[part], tokens[part][:, None], 1)[:, 0] for part in HELD_OUT}
    return HeldOut(nats, mixed), weights.tolist()


def rank(
    models: Mapping[str, HeldOut],
    corpus: Corpus,
    block_length: int,
    num_samples: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return the scores of all models on both parts, best on the test part first.

    `low` and `high` are the ends of the 95 % interval of the bits per character.
    """
    characters = {part: corpus.characters(corpus.part(part)) for part in HELD_OUT}
    rows: dict[str, Any] = {}
    for name, model in models.items():
        rows[name] = {}
        for part in HELD_OUT:
            nats, length = model.nats[part], min(block_length, len(characters[part]))
            row = Score(float(nats.sum()), len(nats), float(characters[part].sum())).report()
            if np.isfinite(nats).all():
                interval = mean_interval(nats / math.log(2), characters[part], length, num_samples, generator)
                row |= dict(zip(("low", "high"), interval, strict=True))
            rows[name][part] = row
    worst = math.inf
    return dict(sorted(rows.items(), key=lambda item: item[1]["test"]["nats"] or worst))


def compressors(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Return the bits per character that compressors need for each part behind all the text before it."""
    text = corpus.decode(corpus.tokens.tolist())
    lengths = corpus.characters(corpus.tokens).astype(int).cumsum() if corpus.level == "word" else None

    def cut(token: int) -> int:
        return token if lengths is None else int(lengths[token - 1])

    content: dict[str, dict[str, float]] = {}
    for name in COMPRESSORS:
        ranges = {part: (cut(corpus.split[part][0]), cut(corpus.split[part][1])) for part in HELD_OUT}
        content[name] = {
            part: compressed_bits_per_character(name, text[:begin], text[begin:end])
            for part, (begin, end) in ranges.items()
        }
    return content


def over_seeds(scores: Mapping[str, Any], recipes: Mapping[str, RnnRecipe]) -> dict[str, Any]:
    """Return mean and standard deviation of the bits per character of recipes that differ in their seed alone."""
    groups: dict[str, list[str]] = {}
    for name, recipe in recipes.items():
        groups.setdefault(recipe.model_copy(update={"seed": 0}).model_dump_json(), []).append(name)
    content: dict[str, Any] = {}
    for names in groups.values():
        if len(names) < 2:
            continue
        content[names[0]] = {"models": names}
        for part in HELD_OUT:
            bits = [scores[name][part]["bits_per_character"] for name in names]
            content[names[0]][part] = {"mean": float(np.mean(bits)), "std": float(np.std(bits, ddof=1))}
    return content


def draw_ranking(scores: Mapping[str, Any], compressed: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the test scores, best on top, with their intervals and the compressors as lines."""
    rows = {
        name: (row["test"]["bits_per_character"], row["test"]["low"], row["test"]["high"])
        for name, row in scores.items()
        if "low" in row["test"]
    }
    return plots.ranking(
        rows, {name: bits["test"] for name, bits in compressed.items()}, "test bits per character"
    )
