"""Score one recurrent language model by dynamic evaluation: it is trained further on the text it has scored.

Reads `dynamic_evaluation`, `compare_models.corpus` and `evaluate_perplexity.num_warmup` of params.yaml,
data/text/<corpus>/ and data/models/rnn/<name>/; writes the nats and distributions of the held-out tokens to
data/scores/rnn/<name>_dynamic.safetensors.
Run: python stages/dynamic_evaluation.py NAME (DVC passes NAME in DVC_STAGE)
"""

from pathlib import Path

import torch

from timemachine.base.compute import needing_less_with
from timemachine.base.errors import about
from timemachine.base.files import write_arrays
from timemachine.language.models.trained import load_module
from timemachine.language.scoring.dynamic import read_and_learn, streams_of
from timemachine.language.scoring.score import held_out_readings
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.text.tokens.corpus import HELD_OUT, Corpus
from timemachine.training.devices import choose_device


def run(params: Params, name: str, text: Path, models: Path, out: Path) -> None:
    """Write the nats and distributions of the validation and the test part."""
    p = params.dynamic_evaluation
    corpus = Corpus.load(text / params.compare_models.corpus)
    model, config = load_module(models / name, corpus.vocabulary)
    first = corpus.split["val"][0]
    begin = max(first - p.num_rms - params.evaluate_perplexity.num_warmup, 0)
    tokens = torch.from_numpy(corpus.tokens[begin:].astype("int64"))
    with (
        about(f"dynamic_evaluation of {name}"),
        needing_less_with("dynamic_evaluation.num_steps"),
        show_progress(f"dynamic_evaluation of {name}", steady=True) as show,
    ):
        device = choose_device(config.device)
        parts = streams_of([len(corpus.part(part)) for part in HELD_OUT])
        log_P = read_and_learn(
            model.to(device), tokens.to(device), p.num_rms, first - begin, p.num_steps, p.lr, parts, show
        )
    [readings] = held_out_readings([log_P[:, None]], corpus)
    write_arrays(out / f"{name}_dynamic.safetensors", readings)


if __name__ == "__main__":
    stage.main(run, text="data/text", models="data/models/rnn", out="data/scores/rnn")
