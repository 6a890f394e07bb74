"""The ranking of all language models of a corpus, with confidence intervals, and means over seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from timemachine.language.comparison.config import CompareModelsParams, MixtureRecipe
from timemachine.language.comparison.held_out import DYNAMIC
from timemachine.language.models.config import RnnRecipe
from timemachine.language.scoring.bootstrap import bootstraps_by_part
from timemachine.language.scoring.score import Readings, score
from timemachine.text.corpus import HELD_OUT, Corpus


def rank(models: Mapping[str, Readings], corpus: Corpus, p: CompareModelsParams) -> dict[str, Any]:
    """Return the scores of all models on both parts, the best on the test part first.

    `low` and `high` are the ends of the 95 % interval of the bits per character. All models are scored on the same
    text, so that their intervals overlap more than the models differ. `behind` is therefore the difference to the
    best model on the test part in bits per character, with the interval of that difference.

    Args:
        models: predictions by name.
        corpus: the corpus that they predict.
        p: the knobs of the bootstrap. All models of a part share its random blocks.
    """
    bootstraps = bootstraps_by_part(corpus, p.block_length, p.num_samples, p.seed)
    names = sorted(models, key=lambda name: models[name]["test"].sum())  # infinity, of P = 0, is last
    best = models[names[0]]["test"]
    rows: dict[str, Any] = {name: {} for name in names}
    for name, row in rows.items():
        for part, bootstrap in bootstraps.items():
            nats = models[name][part]
            row[part] = score(float(nats.sum()), corpus.part(part), corpus)
            if np.isfinite(nats).all():
                row[part] |= bootstrap.bits(nats)
                if part == "test":
                    row[part]["behind"] = bootstrap.bits(nats - best)
    return rows


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
