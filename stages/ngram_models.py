"""Count n-gram language models of every order and score them on held-out text, forward and backward.

Reads `ngram_models` of params.yaml and data/text/; writes data/results/ngram_models.json, the nats of every token
under every model to data/scores/ngram/<corpus>.safetensors, and data/reports/figures/ngram_models/.
Run: python stages/ngram_models.py
"""

from pathlib import Path

from timemachine.base.files import write_arrays, write_json
from timemachine.language.ngrams.evaluation import evaluate_ngram_models
from timemachine.language.ngrams.memory import check_memory
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.plots.language import draw_by_order
from timemachine.text.tokens.corpus import Corpus


def run(params: Params, text: Path, report: Path, scores: Path, figures: Path) -> None:
    """Write the report, the nats as arrays `<model>.<part>`, and the figures."""
    p = params.ngram_models
    corpora = {name: Corpus.load(text / name) for name in p.corpora}
    check_memory(corpora, p)
    content = {}
    for name, max_order in p.corpora.items():
        corpus = corpora[name]
        content[name], forward, _ = evaluate_ngram_models(corpus, max_order, p)
        arrays = {f"{model}.{part}": nats for model, parts in forward.items() for part, nats in parts.items()}
        write_arrays(scores / f"{name}.safetensors", arrays)
        save_figure(draw_by_order(content[name], name), figures / f"{name}.png")
    write_json(report, content)


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        report="data/results/ngram_models.json",
        scores="data/scores/ngram",
        figures="data/reports/figures/ngram_models",
    )
