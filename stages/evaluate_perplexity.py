"""Score every language model on what it was trained on, the validation and the test part, and let it write.

Reads `evaluate_perplexity` and `train_rnn` of params.yaml, data/text/ and data/models/rnn/; writes
perplexity.json, training.json, generated/ and figures/perplexity/ below data/reports/.
Run: python stages/evaluate_perplexity.py
"""

from pathlib import Path

import pandas as pd

from timemachine import plots, stage
from timemachine.evaluation.generation import generate
from timemachine.evaluation.perplexity import score_parts, uniform_scores
from timemachine.files import write_json, write_text
from timemachine.models.language import build_language_model
from timemachine.params import Params
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import load_checkpoint


def run(
    params: Params, text: Path, models: Path, report: Path, training: Path, generated: Path, figures: Path
) -> None:
    """Write scores and generated text by model, and draw the training curves."""
    p = params.evaluate_perplexity
    corpora = {name: Corpus.load(text / name) for name in {r.corpus: None for r in params.train_rnn.values()}}
    scores, last_epochs = {f"uniform_{name}": uniform_scores(corpus) for name, corpus in corpora.items()}, {}
    for name, recipe in params.train_rnn.items():
        corpus = corpora[recipe.corpus]
        model, config = load_checkpoint(models / name, build_language_model, corpus.vocabulary.sha256)
        scores[name] = score_parts(model, corpus, config["train_range"], p.num_warmup)
        texts = [generate(model, corpus, q.prefix, q.num_preds) for q in p.prefixes]
        write_text(generated / f"{name}.txt", "".join(f"{text}\n" for text in texts))
        history = pd.read_csv(models / name / "history.csv")
        last_epochs[name] = history.iloc[-1].to_dict()
        columns = {"train": "perplexity", "val": "val_perplexity"}
        curves = {k: (history["epoch"], history[c]) for k, c in columns.items() if c in history}
        plots.save(plots.lines(curves, "epoch", "perplexity", logarithmic="y"), figures / f"{name}.png")
    write_json(training, last_epochs)
    write_json(report, {name: {part: s.report() for part, s in by.items()} for name, by in scores.items()})


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        report="data/reports/perplexity.json",
        training="data/reports/training.json",
        generated="data/reports/generated",
        figures="data/reports/figures/perplexity",
    )
