"""Score the context mixture: many counted experts, mixed with weights that are learnt as the text is read.

Reads `context_mixing` and `compare_models.corpus` of params.yaml and data/text/<corpus>/; writes the nats and
distributions of the held-out tokens to data/scores/context_mixing.safetensors.
Run: python stages/context_mixing.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_arrays
from timemachine.language.ngrams.reading import read_context_mixing
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.text.tokens.corpus import Corpus


def run(params: Params, text: Path, out: Path) -> None:
    """Write the nats and distributions of the validation and the test part."""
    corpus = Corpus.load(text / params.compare_models.corpus)
    with about("context_mixing"), show_progress("context_mixing", steady=True) as show:
        write_arrays(out, read_context_mixing(corpus, params.context_mixing, show))


if __name__ == "__main__":
    stage.main(run, text="data/text", out="data/scores/context_mixing.safetensors")
