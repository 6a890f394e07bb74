"""Report on the n-grams of a corpus: counts, Zipf exponents, sequence probabilities, Markov chain."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from timemachine.language.ngrams.chain import log_probabilities
from timemachine.language.ngrams.counts import count_ngrams
from timemachine.language.ngrams.markov import Matrix, mean_nats, transition_matrix
from timemachine.language.ngrams.smoothing import SmoothedNgrams
from timemachine.language.ngrams.zipf import fit_exponent
from timemachine.text.corpus import Corpus

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}


def describe_counts(
    corpus: Corpus, num_top: int, zipf_ranks: Sequence[int]
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Count the uni-, bi- and trigrams of a whole corpus.

    Returns:
        The report, `total`, `distinct`, `zipf_exponent`, `zipf_ranks` and the `top` n-grams, and a table of all
        n-grams, words joined by a space, and their counts, most frequent first; both by name of the order.

    Raises:
        UserError: fewer than two n-grams are within the ranks of the fit.
    """
    words = np.array(corpus.vocabulary.tokens, dtype=object)
    content, tables = {}, {}
    for name, n in ORDERS.items():
        ngrams, counts = count_ngrams(corpus.tokens, n, len(corpus.vocabulary))
        text = pd.Series([" ".join(row) for row in words[ngrams]], dtype=str)
        tables[name] = pd.DataFrame({"ngram": text, "count": counts})
        exponent, ranks = fit_exponent(counts, zipf_ranks[0], zipf_ranks[1])
        content[name] = {
            "total": int(counts.sum()),
            "distinct": len(counts),
            "zipf_exponent": exponent,
            "zipf_ranks": list(ranks),
            "top": tables[name].head(num_top).to_numpy().tolist(),
        }
    return content, tables


def score_sequences(corpus: Corpus, sequences: Sequence[str], epsilon: Sequence[float]) -> list[dict[str, Any]]:
    """Return log P of each sequence, in nats, under the three orders, by maximum likelihood and smoothed.

    log P of a probability of 0 is None, because JSON has no −∞.
    """
    estimates = {"maximum_likelihood": (0.0, 0.0, 0.0), "smoothed": epsilon}
    vocab_size, num_distinct = len(corpus.vocabulary), len(np.unique(corpus.tokens))
    models = {name: SmoothedNgrams(corpus.tokens, vocab_size, num_distinct, e) for name, e in estimates.items()}
    rows = []
    for sequence in sequences:
        tokens = np.array(corpus.tokenizer.encode(sequence), dtype=np.int64)
        row: dict[str, Any] = {"sequence": sequence}
        for estimate, model in models.items():
            nats = {name: float(log_probabilities(model, tokens, n).sum()) for name, n in ORDERS.items()}
            row[f"{estimate}_nats"] = {name: n if math.isfinite(n) else None for name, n in nats.items()}
        rows.append(row)
    return rows


def describe_chain(
    corpus: Corpus, steps: Sequence[int]
) -> tuple[dict[str, Any], dict[int, Matrix], dict[str, pd.DataFrame]]:
    """Count a Markov chain on a corpus, and look k characters ahead, for each k of `steps`.

    Returns:
        The report, nats and perplexity on the text of the chain itself by k; the k-step transition matrices; and
        their tables, one row per character, one column per later character.
    """
    characters = corpus.vocabulary.tokens
    content, matrices, tables = {}, {}, {}
    for k in steps:
        matrices[k] = transition_matrix(corpus.tokens, len(characters), k)
        nats = mean_nats(matrices[k], corpus.tokens, k)
        content[str(k)] = {"nats": nats, "perplexity": math.exp(nats)}
        table = tables[f"transitions_{k}"] = pd.DataFrame(matrices[k], columns=characters)
        table.insert(0, "from", characters, allow_duplicates=True)  # a reserved token may have this name
    return {"k_step": content}, matrices, tables
