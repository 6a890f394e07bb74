"""Count language models of every order and score them on held-out text, forward and backward.

Reads `ngram_models` of params.yaml and the corpora it names; writes ngram_models.json and
figures/ngram_models/ below data/reports/, and the nats of every token under every model below
data/scores/ngram/.
Run: python stages/ngram_models.py
"""

from pathlib import Path

import numpy as np

from timemachine.base.files import write_arrays, write_json
from timemachine.language.ngrams.evaluation import describe_ngram_models, draw_ngram_models, score_ngram_models
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.text.corpus import Corpus


def run(params: Params, text: Path, report: Path, scores: Path, figures: Path) -> None:
    """Write the report, the nats as arrays `<model>.<part>` in a file for each corpus, and the figures."""
    p = params.ngram_models
    generator = np.random.default_rng(p.seed)
    content = {}
    for name, max_order in p.corpora.items():
        corpus = Corpus.load(text / name)
        models = score_ngram_models(corpus, max_order)
        content[name] = describe_ngram_models(models, corpus, p.block_length, p.num_samples, generator)
        arrays = {f"{m}.{part}": nats for m, by_part in models.forward.items() for part, nats in by_part.items()}
        write_arrays(scores / f"{name}.safetensors", arrays)
        save_figure(draw_ngram_models(content[name]), figures / f"{name}.png")
    write_json(report, content)


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        report="data/reports/ngram_models.json",
        scores="data/scores/ngram",
        figures="data/reports/figures/ngram_models",
    )
