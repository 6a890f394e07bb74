"""Mix, rank and compare all language models of a corpus on the text held out.

Reads `compare_models` and the recipes of params.yaml, the corpus, and what the models made of it from
data/scores/; writes data/reports/language_models.json and figures/language_models/ beside it.
Run: python stages/compare_models.py
"""

from pathlib import Path

import numpy as np

from timemachine.base.files import write_json
from timemachine.language.comparison import comparison
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.text.corpus import Corpus


def run(params: Params, text: Path, scores: Path, report: Path, figures: Path) -> None:
    """Write the report and the figure."""
    p = params.compare_models
    corpus = Corpus.load(text / p.corpus)
    recipes = {name: recipe for name, recipe in params.train_rnn.items() if recipe.corpus == p.corpus}
    models = comparison.read_models(scores, corpus, params)
    weights = {}
    for name, mixture in p.mixtures.items():
        models[name], weights[name] = comparison.mix(mixture, models, corpus)
    ranked = comparison.rank(models, corpus, p.block_length, p.num_samples, np.random.default_rng(p.seed))
    compressed = comparison.compressors(corpus)
    content = {
        "models": ranked,
        "mixtures": {n: dict(zip(m.models, weights[n], strict=True)) for n, m in p.mixtures.items()},
        "seeds": comparison.over_seeds(ranked, recipes, p.mixtures),
        "compressors": compressed,
    }
    write_json(report, content)
    save_figure(comparison.ranking_figure(ranked, compressed), figures / "ranking.png")


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        scores="data/scores",
        report="data/reports/language_models.json",
        figures="data/reports/figures/language_models",
    )
