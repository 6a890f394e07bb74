"""Measure what each part of the context mixture brings: leave one out and score the validation part.

Reads `context_mixing` and `compare_models.corpus` of params.yaml and data/text/<corpus>/; writes
data/results/context_mixing.json.
Run: python stages/context_mixing_parts.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_json
from timemachine.language.ngrams.reading import leave_parts_out
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.progress import show_progress
from timemachine.text.tokens.corpus import Corpus


def run(params: Params, text: Path, report: Path) -> None:
    """Write the report."""
    corpus, p = Corpus.load(text / params.compare_models.corpus), params.context_mixing
    with about("context_mixing"), show_progress("context_mixing_parts", steady=True) as show:
        write_json(report, {"params": p.model_dump(), "left_out": leave_parts_out(corpus, p, show)})


if __name__ == "__main__":
    stage.main(run, text="data/text", report="data/results/context_mixing.json")
