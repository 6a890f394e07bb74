"""Count n-grams, fit Zipf's law, estimate probabilities, and compute k-step transitions of a Markov chain.

Reads `ngrams` of params.yaml, and the word and the character corpus from data/text/; writes data/ngrams/,
data/results/ngrams.json and data/reports/figures/ngrams/. A long text is counted in parts, below .timemachine/.
Run: python stages/ngrams.py
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from timemachine.base.files import replacing, write_json
from timemachine.language.ngrams.engines import count_in_blocks
from timemachine.language.ngrams.report import ORDERS, describe_chain, describe_counts, score_sequences
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.plots.language import draw_frequencies, draw_transition_matrices
from timemachine.text.tokens.corpus import Corpus


def run(params: Params, text: Path, out: Path, report: Path, figures: Path, scratch: Path) -> None:
    """Write the counts, the report and the figures."""
    p = params.ngrams
    words, characters = Corpus.load(text / p.corpus), Corpus.load(text / p.markov_corpus)
    content, curves = dict[str, Any](), {}
    for name, n in ORDERS.items():
        counted = count_in_blocks(words.tokens, words.pieces, n, len(words.vocabulary), p, scratch)
        with replacing(out / f"{name}.csv") as path, closing(counted) as rows:
            content[name], curves[name] = describe_counts(rows, words.vocabulary, p.num_top, p.zipf_ranks, path)
    content["sequences"] = score_sequences(words, p.sequences, p.epsilon)
    content["markov"], chain, transitions = describe_chain(characters, p.markov_steps)
    for name, table in transitions.items():
        with replacing(out / f"{name}.csv") as path:
            table.to_csv(path, index=False, lineterminator="\n")
    write_json(report, content)
    for name, chosen in (("zipf_unigram", {"unigram": curves["unigram"]}), ("zipf", curves)):
        save_figure(draw_frequencies(chosen), figures / f"{name}.png")
    save_figure(draw_transition_matrices(chain, characters.vocabulary.tokens), figures / "transitions.png")


if __name__ == "__main__":
    folders = {"text": "data/text", "out": "data/ngrams", "figures": "data/reports/figures/ngrams"}
    # Partial counts are kept outside of the outputs, which DVC removes before each run.
    scratch = str(stage.repository_root() / ".timemachine")
    stage.main(run, **folders, report="data/results/ngrams.json", scratch=scratch)
