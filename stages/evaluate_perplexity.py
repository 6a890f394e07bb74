"""Score one recurrent language model on training tokens, the validation and the test part, and generate text.

Reads `evaluate_perplexity` and `train_rnn.<name>` of params.yaml, data/text/<corpus>/ and data/models/rnn/<name>/;
writes the nats and distributions of the held-out tokens to data/scores/rnn/<name>.safetensors, the generated text
to data/generated/<name>.txt and the scores to data/results/perplexity/<name>.json.
Run: python stages/evaluate_perplexity.py NAME (DVC passes NAME in DVC_STAGE)
"""

from pathlib import Path

from timemachine.base.compute import needing_less_with
from timemachine.base.errors import about
from timemachine.base.files import write_arrays, write_json, write_text
from timemachine.language.generation.decoding import continue_texts
from timemachine.language.models.trained import load_module
from timemachine.language.scoring.reading import read_parts, score_report
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.text.tokens.corpus import Corpus
from timemachine.training.devices import choose_device


def run(params: Params, name: str, text: Path, models: Path, out: Path, generated: Path, report: Path) -> None:
    """Write the arrays, the generated text and the report of one model."""
    p, corpus_name = params.evaluate_perplexity, stage.entry(params.train_rnn, name, "train_rnn").corpus
    corpus = Corpus.load(text / corpus_name)
    model, config = load_module(models / name, corpus.vocabulary)
    begin, end = config.train_range
    trained = max(begin, end - p.max_train), end
    with (
        about(f"train_rnn.{name}"),
        needing_less_with("evaluate_perplexity.num_streams"),
        show_progress(f"evaluate_perplexity of {name}") as show,
    ):
        model.to(choose_device(config.device))
        readings = read_parts(model, corpus, trained, p.num_warmup, p.num_streams, show)
        texts = [
            continue_texts(model, corpus.tokenizer, [x.prefix], [x.num_preds], x.sampling, x.seed)[0]
            for x in p.prefixes
        ]
    held_out = {key: array for key, array in readings.items() if key != "train"}
    write_arrays(out / f"{name}.safetensors", held_out)
    write_text(generated / f"{name}.txt", "".join(f"{line}\n" for line in texts))
    scores = score_report(readings, corpus, trained)
    write_json(report / f"{name}.json", {"corpus": corpus_name} | scores)


if __name__ == "__main__":
    folders = {"text": "data/text", "models": "data/models/rnn", "generated": "data/generated"}
    stage.main(run, **folders, out="data/scores/rnn", report="data/results/perplexity")
