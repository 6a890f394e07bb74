"""Score context mixtures with recurrent models as a further expert.

Reads `context_mixing`, `context_mixing_networks` and `compare_models.corpus` of params.yaml, data/text/<corpus>/
and data/scores/rnn/; writes the nats and distributions of the held-out tokens under each mixture to
data/scores/context_mixing/<name>.safetensors.
Run: python stages/context_mixing_networks.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_arrays
from timemachine.language.ngrams.reading import read_with_networks
from timemachine.language.scoring.score import read_distributions
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.text.tokens.corpus import Corpus


def run(params: Params, text: Path, scores: Path, out: Path) -> None:
    """Write the nats and distributions of the validation and the test part under each mixture."""
    corpus = Corpus.load(text / params.compare_models.corpus)
    networks = {
        name: [read_distributions(scores / f"{model}.safetensors", corpus) for model in models]
        for name, models in params.context_mixing_networks.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    with about("context_mixing"), show_progress("context_mixing_networks", steady=True) as show:
        for name, readings in read_with_networks(corpus, params.context_mixing, networks, show).items():
            write_arrays(out / f"{name}.safetensors", readings)


if __name__ == "__main__":
    stage.main(run, text="data/text", scores="data/scores/rnn", out="data/scores/context_mixing")
