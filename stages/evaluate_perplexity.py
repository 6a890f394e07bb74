"""Score every language model on what it was trained on, the validation and the test part, and let it write.

Reads `evaluate_perplexity` and `train_rnn` of params.yaml, data/text/ and data/models/rnn/; writes
data/reports/perplexity.json and data/generated/.
Run: python stages/evaluate_perplexity.py
"""

from pathlib import Path

from timemachine import stage
from timemachine.evaluation.generation import generate
from timemachine.evaluation.perplexity import score_parts, uniform_scores
from timemachine.files import write_json, write_text
from timemachine.models.language import rebuild_language_model as rebuild
from timemachine.params import Params, RnnConfig
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, text: Path, models: Path, report: Path, generated: Path) -> None:
    """Write scores and generated text by model."""
    p = params.evaluate_perplexity
    corpora = {name: Corpus.load(text / name) for name in {r.corpus: None for r in params.train_rnn.values()}}
    scores = {f"uniform_{name}": uniform_scores(corpus) for name, corpus in corpora.items()}
    texts = {}
    for name, recipe in params.train_rnn.items():
        corpus = corpora[recipe.corpus]
        model, config = load_checkpoint(models / name, RnnConfig, rebuild, corpus.vocabulary.sha256)
        with stage.about(f"train_rnn.{name}"):
            begin, end = config.train_range
            scores[name] = score_parts(model, corpus, (begin, end), p.num_warmup, p.num_streams)
            texts[name] = [generate(model, corpus, q.prefix, q.num_preds) for q in p.prefixes]
    for name, lines in texts.items():
        write_text(generated / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    write_json(report, {name: {part: s.report() for part, s in by.items()} for name, by in scores.items()})


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        report="data/reports/perplexity.json",
        generated="data/generated",
    )
