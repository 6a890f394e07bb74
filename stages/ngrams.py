"""Count n-grams, fit Zipf's law, estimate probabilities, and compute k-step transitions of a Markov chain.

Reads `ngrams` of params.yaml, and the word and the character corpus from data/text/; writes data/ngrams/,
data/results/ngrams.json and data/reports/figures/ngrams/.
Run: python stages/ngrams.py
"""

from pathlib import Path

from timemachine.base.files import replacing, write_json
from timemachine.language.ngrams import report as ngrams
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.plots.figure import draw_lines, save_figure
from timemachine.plots.language import draw_transition_matrices
from timemachine.text.corpus import Corpus


def run(params: Params, text: Path, out: Path, report: Path, figures: Path) -> None:
    """Write the counts, the report and the figures."""
    p = params.ngrams
    words, characters = Corpus.load(text / p.corpus), Corpus.load(text / p.markov_corpus)
    counts = ngrams.all_counts(words)
    chain = ngrams.k_step_matrices(characters, p.markov_steps)
    content = ngrams.describe_counts(counts, words, p.num_top, (p.zipf_ranks[0], p.zipf_ranks[1]))
    content |= {
        "sequences": ngrams.score_sequences(words, p.sequences, p.epsilon),
        "markov": ngrams.describe_chain(chain, characters),
    }
    for name, table in (ngrams.count_tables(counts, words) | ngrams.chain_tables(chain, characters)).items():
        with replacing(out / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(report, content)
    curves = {name: (range(1, len(c.counts) + 1), c.counts) for name, c in counts.items()}
    for name, chosen in (("zipf_unigram", {"unigram": curves["unigram"]}), ("zipf", curves)):
        save_figure(draw_lines(chosen, "rank", "frequency", logarithmic="xy"), figures / f"{name}.png")
    labels = characters.vocabulary.tokens
    save_figure(draw_transition_matrices(chain, labels), figures / "transitions.png")


if __name__ == "__main__":
    stage.main(
        run,
        text="data/text",
        out="data/ngrams",
        report="data/results/ngrams.json",
        figures="data/reports/figures/ngrams",
    )
