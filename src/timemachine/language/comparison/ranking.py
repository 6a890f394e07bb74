"""The ranking of all language models of a corpus, with confidence intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from timemachine.language.comparison.config import CompareModelsParams
from timemachine.language.scoring.bootstrap import bootstraps_by_part
from timemachine.language.scoring.score import Readings, score
from timemachine.text.tokens.corpus import Corpus


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


def best_on_validation(models: Mapping[str, Readings], names: Sequence[str]) -> str | None:
    """Return which of the names has the best score on the validation part; None if there are no names.

    The test part chooses nothing.
    """
    return min(names, key=lambda name: models[name]["val"].sum(), default=None)
