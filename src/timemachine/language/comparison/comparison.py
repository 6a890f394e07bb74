"""All language models of a corpus side by side: mixed, ranked, with intervals and what compressors need."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays
from timemachine.language.comparison.compression import COMPRESSORS, compressed_bits_per_character
from timemachine.language.comparison.config import MixtureRecipe
from timemachine.language.comparison.mixture import (
    arithmetic_nats,
    fit_arithmetic,
    fit_geometric,
    geometric_log_probabilities,
    nats_of,
)
from timemachine.language.models.config import RnnRecipe
from timemachine.language.ngrams.kneser_ney import KneserNey
from timemachine.language.scoring.bootstrap import bits_with_interval
from timemachine.language.scoring.score import Score
from timemachine.plots.language import draw_ranking
from timemachine.text.corpus import HELD_OUT, Corpus, Part

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params

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


def read_models(scores: Path, corpus: Corpus, params: "Params") -> dict[str, HeldOut]:
    """Return what all models of the corpus that `compare_models` names made of it: counted, trained, dynamic.

    Args:
        scores: the folder `data/scores`.
        corpus: which the params name.
        params: all of them.

    Raises:
        UserError: a file is absent or damaged, or the train part too short.
    """
    p = params.compare_models
    nats = math.log(len(corpus.vocabulary))
    held_out = {"uniform": HeldOut({part: np.full(len(corpus.part(part)), nats) for part in HELD_OUT}, {})}
    arrays = read_arrays(scores / "ngram" / f"{p.corpus}.safetensors")
    for name in dict.fromkeys(key.rpartition(".")[0] for key in arrays):
        held_out[name] = HeldOut({part: arrays[f"{name}.{part}"] for part in HELD_OUT}, {})
    paths = {name: scores / "rnn" / name for name, recipe in params.train_rnn.items() if recipe.corpus == p.corpus}
    paths |= {name + DYNAMIC: scores / "dynamic" / name for name in params.dynamic_evaluation.models}
    for name, path in paths.items():
        arrays = read_arrays(path.with_suffix(".safetensors"))
        log_P = {part: arrays[f"{part}.log_P"].astype(np.float64) for part in HELD_OUT}
        held_out[name] = HeldOut({part: arrays[part] for part in HELD_OUT}, log_P)
    for name in dict.fromkeys(name for mixture in p.mixtures.values() for name in mixture.models):
        if name.startswith(KNESER_NEY):  # again, for its whole distributions
            held_out[name] = read_kneser_ney(corpus, name, p.adapt_every)
    return held_out


def read_kneser_ney(corpus: Corpus, name: str, every: int) -> HeldOut:
    """Return what a Kneser–Ney model makes of the held-out parts.

    Args:
        corpus: counted on its train part.
        name: `kneser_ney_<order>`; with `_adaptive` behind it the model is counted anew, on all the text
            before, after every `every` tokens that it has scored.
        every: tokens.

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
    nats = {part: nats_of(mixed[part], tokens[part]) for part in HELD_OUT}
    return HeldOut(nats, mixed), weights.tolist()


def rank(
    models: Mapping[str, HeldOut],
    corpus: Corpus,
    block_length: int,
    num_samples: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return the scores of all models on both parts, best on the test part first.

    `low` and `high` are the ends of the 95 % interval of the bits per character. Two models read the same text,
    so that their intervals overlap more than they differ: `behind` says how many bits per character a model is
    behind the best one on the test part, with the interval of that difference.
    """
    characters = {part: corpus.characters(corpus.part(part)) for part in HELD_OUT}
    best = min(models.values(), key=lambda model: model.nats["test"].sum()).nats["test"]

    def bits(nats: Array, part: Part) -> dict[str, float]:
        return bits_with_interval(nats, characters[part], block_length, num_samples, generator)

    rows: dict[str, Any] = {}
    for name, model in models.items():
        rows[name] = {}
        for part in HELD_OUT:
            nats = model.nats[part]
            row: dict[str, Any] = Score(float(nats.sum()), len(nats), float(characters[part].sum())).report()
            if np.isfinite(nats).all():
                row |= bits(nats, part)
                if part == "test":
                    row["behind"] = bits(nats - best, part)
            rows[name][part] = row

    def test_nats(item: tuple[str, Any]) -> float:
        nats = item[1]["test"]["nats"]
        return math.inf if nats is None else nats

    return dict(sorted(rows.items(), key=test_nats))


def compressors(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Return the bits per character that compressors need for each part of a corpus of characters.

    A part stands behind all the text before it.
    """
    text = corpus.tokenizer.decode(corpus.tokens.tolist())
    return {
        name: {
            part: compressed_bits_per_character(
                name, text[: corpus.split[part][0]], text[slice(*corpus.split[part])]
            )
            for part in HELD_OUT
        }
        for name in COMPRESSORS
    }


def over_seeds(
    scores: Mapping[str, Any], recipes: Mapping[str, RnnRecipe], mixtures: Mapping[str, MixtureRecipe]
) -> dict[str, Any]:
    """Return mean and standard deviation of the bits per character of models that differ in a seed alone.

    These are recipes, the same with dynamic evaluation, and mixtures of models that differ so.
    """
    kinds = {name: recipe.model_copy(update={"seed": 0}).model_dump_json() for name, recipe in recipes.items()}
    kinds |= {name + DYNAMIC: kind + DYNAMIC for name, kind in kinds.items() if name + DYNAMIC in scores}
    kinds |= {
        name: f"{mixture.mean} {[kinds.get(model, model) for model in mixture.models]}"
        for name, mixture in mixtures.items()
    }
    groups: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        groups.setdefault(kind, []).append(name)
    content: dict[str, Any] = {}
    for names in (group for group in groups.values() if len(group) > 1):
        content[names[0]] = {"models": names}
        for part in HELD_OUT:
            bits = [scores[name][part]["bits_per_character"] for name in names]
            content[names[0]][part] = {"mean": float(np.mean(bits)), "std": float(np.std(bits, ddof=1))}
    return content


def ranking_figure(scores: Mapping[str, Any], compressed: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the test scores, best on top, with their intervals and the compressors as lines."""
    rows = {
        name: (row["test"]["bits_per_character"], row["test"]["low"], row["test"]["high"])
        for name, row in scores.items()
        if "low" in row["test"]
    }
    return draw_ranking(rows, {name: bits["test"] for name, bits in compressed.items()}, "test bits per character")
