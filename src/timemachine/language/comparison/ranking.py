"""The ranking of all language models of a corpus, with confidence intervals, and means over seeds."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from timemachine.language.comparison.config import MixtureRecipe
from timemachine.language.comparison.held_out import DYNAMIC, HeldOut
from timemachine.language.models.config import RnnRecipe
from timemachine.language.scoring.bootstrap import BlockBootstrap
from timemachine.language.scoring.score import Score
from timemachine.text.corpus import HELD_OUT, Corpus


def rank(
    models: Mapping[str, HeldOut],
    corpus: Corpus,
    block_length: int,
    num_samples: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return the scores of all models on both parts, the best on the test part first.

    `low` and `high` are the ends of the 95 % interval of the bits per character. All models are scored on the same
    text, so that their intervals overlap more than the models differ. `behind` is therefore the difference to the
    best model on the test part in bits per character, with the interval of that difference.

    Args:
        models: predictions by name.
        corpus: the corpus that they predict.
        block_length: tokens per block of the bootstrap; see `BlockBootstrap`.
        num_samples: number of resampled texts.
        generator: source of the random blocks, which are the same for all models of a part.
    """
    characters = {part: corpus.characters(corpus.part(part)) for part in HELD_OUT}
    bootstraps = {
        part: BlockBootstrap(characters[part], block_length, num_samples, generator) for part in HELD_OUT
    }
    best = min(models.values(), key=lambda model: model.nats["test"].sum()).nats["test"]
    rows: dict[str, Any] = {}
    for name, model in models.items():
        rows[name] = {}
        for part in HELD_OUT:
            nats = model.nats[part]
            row: dict[str, Any] = Score(float(nats.sum()), len(nats), float(characters[part].sum())).report()
            if np.isfinite(nats).all():
                row |= bootstraps[part].bits(nats)
                if part == "test":
                    row["behind"] = bootstraps[part].bits(nats - best)
            rows[name][part] = row

    def test_nats(item: tuple[str, Any]) -> float:
        nats = item[1]["test"]["nats"]
        return math.inf if nats is None else nats

    return dict(sorted(rows.items(), key=test_nats))


def over_seeds(
    scores: Mapping[str, Any], recipes: Mapping[str, RnnRecipe], mixtures: Mapping[str, MixtureRecipe]
) -> dict[str, Any]:
    """Return mean and standard deviation of the bits per character of models that differ only in their seed.

    Such models are recipes, the same recipes with dynamic evaluation, and mixtures of such models.

    Args:
        scores: what `rank` returned.
        recipes: the recurrent models of the corpus.
        mixtures: the mixtures of the comparison.

    Returns:
        By the first name of each group: `models`, the names of the group, and `mean` and `std` by part.
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
