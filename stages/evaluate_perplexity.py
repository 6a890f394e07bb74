"""Score every language model on what it was trained on, the validation and the test part, and let it write.

Reads `evaluate_perplexity` and `train_rnn` of params.yaml, data/text/ and data/models/rnn/; writes
data/reports/perplexity.json, data/scores/rnn/ (what each model makes of every held-out token) and data/generated/.
Run: python stages/evaluate_perplexity.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_arrays, write_json, write_text
from timemachine.language.generation.generate import continue_prefix
from timemachine.language.models.build import rebuild_language_model as rebuild
from timemachine.language.models.config import RnnConfig
from timemachine.language.scoring.perplexity import held_out_arrays, read_parts, score_readings, uniform_scores
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.corpus import Corpus
from timemachine.training.checkpoints import load_checkpoint


def run(params: Params, text: Path, models: Path, out: Path, report: Path, generated: Path) -> None:
    """Write scores and generated text by model."""
    p = params.evaluate_perplexity
    corpora = {name: Corpus.load(text / name) for name in {r.corpus: None for r in params.train_rnn.values()}}
    scores = {f"uniform_{name}": uniform_scores(corpus) for name, corpus in corpora.items()}
    texts, held_out = {}, {}
    for name, recipe in params.train_rnn.items():
        corpus = corpora[recipe.corpus]
        model, config = load_checkpoint(models / name, RnnConfig, rebuild, corpus.vocabulary.sha256)
        with about(f"train_rnn.{name}"):
            train_range = config.train_range[0], config.train_range[1]
            readings = read_parts(model, corpus, train_range, p.num_warmup, p.num_streams)
            scores[name] = score_readings(readings, corpus, train_range)
            held_out[name] = held_out_arrays(readings)
            texts[name] = [continue_prefix(model, corpus.tokenizer, prefix) for prefix in p.prefixes]
    for name, arrays in held_out.items():
        write_arrays(out / f"{name}.safetensors", arrays)
    for name, lines in texts.items():
        write_text(generated / f"{name}.txt", "".join(f"{line}\n" for line in lines))
    write_json(report, {name: {part: s.report() for part, s in by.items()} for name, by in scores.items()})


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        out="data/scores/rnn",
        report="data/reports/perplexity.json",
        generated="data/generated",
    )
