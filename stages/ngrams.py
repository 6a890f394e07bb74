"""Count n-grams, fit Zipf's law, estimate probabilities, and compute k-step transitions of a Markov chain.

Reads `ngrams` of params.yaml, and the word and the character corpus from data/text/; writes data/ngrams/,
data/results/ngrams.json and data/reports/figures/ngrams/.
Run: python stages/ngrams.py
"""

from pathlib import Path

from timemachine.base.files import replacing, write_json
from timemachine.language.ngrams.report import describe_chain, describe_counts, score_sequences
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import save_figure
from timemachine.plots.language import draw_frequencies, draw_transition_matrices
from timemachine.text.corpus import Corpus


def run(params: Params, text: Path, out: Path, report: Path, figures: Path) -> None:
    """Write the counts, the report and the figures."""
    p = params.ngrams
    words, characters = Corpus.load(text / p.corpus), Corpus.load(text / p.markov_corpus)
    content, counts = describe_counts(words, p.num_top, p.zipf_ranks)
    content["sequences"] = score_sequences(words, p.sequences, p.epsilon)
    content["markov"], chain, transitions = describe_chain(characters, p.markov_steps)
    for name, table in (counts | transitions).items():
        with replacing(out / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(report, content)
    frequencies = {name: table["count"].to_numpy() for name, table in counts.items()}
    for name, chosen in (("zipf_unigram", {"unigram": frequencies["unigram"]}), ("zipf", frequencies)):
        save_figure(draw_frequencies(chosen), figures / f"{name}.png")
    save_figure(draw_transition_matrices(chain, characters.vocabulary.tokens), figures / "transitions.png")


if __name__ == "__main__":
    folders = {"text": "data/text", "out": "data/ngrams", "figures": "data/reports/figures/ngrams"}
    stage.main(run, **folders, report="data/results/ngrams.json")
