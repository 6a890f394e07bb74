"""Score one recurrent language model on its training tokens, the validation and the test part, and generate text.

Reads `evaluate_perplexity` and `train_rnn.<name>` of params.yaml, data/text/<corpus>/ and
data/models/rnn/<name>/; writes the nats and distributions of the held-out tokens to
data/scores/rnn/<name>.safetensors, the generated text to data/generated/<name>.txt and the scores to
data/results/perplexity/<name>.json.
Run: python stages/evaluate_perplexity.py NAME (DVC passes NAME in DVC_STAGE)
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_arrays, write_json, write_text
from timemachine.language.generation.decoding import continue_prefix
from timemachine.language.models.trained import load_module
from timemachine.language.scoring.reading import held_out_arrays, read_parts, score_readings, uniform_scores
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.corpus import Corpus


def run(params: Params, name: str, text: Path, models: Path, out: Path, generated: Path, report: Path) -> None:
    """Write the arrays, the generated text and the report of one model."""
    p, recipe = params.evaluate_perplexity, stage.entry(params.train_rnn, name, "train_rnn")
    corpus = Corpus.load(text / recipe.corpus)
    model, config = load_module(models / name, corpus.vocabulary)
    with about(f"train_rnn.{name}"):
        train_range = config.train_range[0], config.train_range[1]
        readings = read_parts(model, corpus, train_range, p.num_warmup, p.num_streams)
        texts = [continue_prefix(model, corpus.tokenizer, prefix) for prefix in p.prefixes]
    write_arrays(out / f"{name}.safetensors", held_out_arrays(readings))
    write_text(generated / f"{name}.txt", "".join(f"{line}\n" for line in texts))
    scores = score_readings(readings, corpus, train_range)
    content = {
        "corpus": recipe.corpus,
        "scores": {part: score.report() for part, score in scores.items()},
        "uniform": {part: score.report() for part, score in uniform_scores(corpus).items()},
    }
    write_json(report / f"{name}.json", content)


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        models="data/models/rnn",
        out="data/scores/rnn",
        generated="data/generated",
        report="data/results/perplexity",
    )
