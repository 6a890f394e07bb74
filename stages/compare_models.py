"""Mix, rank and compare all language models of a corpus on the held-out text.

Reads `compare_models`, `context_mixing_networks`, `dynamic_evaluation.models` and `train_rnn` of params.yaml,
data/text/<corpus>/ and data/scores/; writes data/results/language_models.json, and the nats of the held-out tokens
under the models that are computed here, mixtures and adaptive Kneser–Ney, to data/mixtures.safetensors.
Run: python stages/compare_models.py
"""

from pathlib import Path

from timemachine.base.files import write_arrays, write_json
from timemachine.language.comparison.compression import compressed_bits_per_character
from timemachine.language.comparison.held_out import ADAPTIVE, mix, read_models
from timemachine.language.comparison.ranking import best_on_validation, rank
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.text.tokens.corpus import HELD_OUT, Corpus


def run(params: Params, text: Path, scores: Path, nats: Path, report: Path) -> None:
    """Write the nats and the report."""
    p = params.compare_models
    corpus = Corpus.load(text / p.corpus)
    recipes = [name for name, recipe in params.train_rnn.items() if recipe.corpus == p.corpus]
    recurrent = [*recipes, *params.dynamic_names]
    models = read_models(scores, corpus, p, recurrent, params.context_mixing_networks)
    weights = {}
    for name, mixture in p.mixtures.items():
        models[name], weights[name] = mix(mixture, models, corpus)
    computed = [name for name in models if name in p.mixtures or name.endswith(ADAPTIVE)]
    write_arrays(nats, {f"{name}.{part}": models[name][part] for name in computed for part in HELD_OUT})
    content = {
        "best": best_on_validation(models, list(models)),
        "best_checkpoint": best_on_validation(models, recipes),
        "networks": params.context_mixing_networks,
        "models": rank(models, corpus, p),
        "mixtures": {n: dict(zip(m.models, weights[n], strict=True)) for n, m in p.mixtures.items()},
        "compressors": compressed_bits_per_character(corpus, p.max_tokens),
    }
    write_json(report, content)


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        scores="data/scores",
        nats="data/mixtures.safetensors",
        report="data/results/language_models.json",
    )
