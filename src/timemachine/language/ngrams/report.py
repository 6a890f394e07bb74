"""Report on the n-grams of a corpus: counts, Zipf exponents, sequence probabilities, Markov chain."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from timemachine.language.ngrams.counts import NgramCounts, count_ngrams
from timemachine.language.ngrams.markov import Matrix, k_step, mean_nats, transition_matrix
from timemachine.language.ngrams.smoothing import SmoothedNgrams
from timemachine.language.ngrams.zipf import fit_exponent
from timemachine.text.corpus import Corpus

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}


def all_counts(corpus: Corpus) -> dict[str, NgramCounts]:
    """Count the uni-, bi- and trigrams of a whole corpus."""
    return {name: count_ngrams(corpus.tokens, n, len(corpus.vocabulary)) for name, n in ORDERS.items()}


def count_tables(counts: Mapping[str, NgramCounts], corpus: Corpus) -> dict[str, pd.DataFrame]:
    """Return a table of all n-grams, words joined by a space, and their counts, by name of the order."""
    tokens = np.array(corpus.vocabulary.tokens, dtype=object)
    tables = {}
    for name, c in counts.items():
        text = pd.Series([" ".join(row) for row in tokens[c.ngrams]], dtype=str)
        tables[name] = pd.DataFrame({"ngram": text, "count": c.counts})
    return tables


def describe_counts(
    counts: Mapping[str, NgramCounts], corpus: Corpus, num_top: int, zipf_ranks: tuple[int, int]
) -> dict[str, Any]:
    """Return `total`, `distinct`, `zipf_exponent`, `zipf_ranks` and the `top` n-grams, by name of the order.

    Raises:
        UserError: fewer than two n-grams are within the ranks of the fit.
    """
    content = {}
    for name, c in counts.items():
        exponent, ranks = fit_exponent(c.counts, *zipf_ranks)
        top = zip(
            corpus.vocabulary.to_tokens(c.ngrams[:num_top].tolist()), c.counts[:num_top].tolist(), strict=True
        )
        content[name] = {
            "total": c.total,
            "distinct": len(c.counts),
            "zipf_exponent": exponent,
            "zipf_ranks": list(ranks),
            "top": [[" ".join(words), count] for words, count in top],
        }
    return content


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
            nats = {name: float(model.log_probabilities(tokens, n).sum()) for name, n in ORDERS.items()}
            row[f"{estimate}_nats"] = {name: n if math.isfinite(n) else None for name, n in nats.items()}
        rows.append(row)
    return rows


def k_step_matrices(corpus: Corpus, steps: Sequence[int]) -> dict[int, Matrix]:
    """Return the k-step transition matrices of a corpus, by k."""
    transitions = transition_matrix(corpus.tokens, len(corpus.vocabulary))
    return {k: k_step(transitions, k) for k in steps}


def describe_chain(matrices: Mapping[int, Matrix], corpus: Corpus) -> dict[str, Any]:
    """Return nats and perplexity of predictions k characters ahead, on the text of the chain itself, by k."""
    content = {}
    for k, matrix in matrices.items():
        nats = mean_nats(matrix, corpus.tokens, k)
        content[str(k)] = {"nats": nats, "perplexity": math.exp(nats)}
    return {"k_step": content}


def chain_tables(matrices: Mapping[int, Matrix], corpus: Corpus) -> dict[str, pd.DataFrame]:
    """Return the k-step transition matrices as tables: one row per character, one column per later character."""
    tokens = corpus.vocabulary.tokens
    tables = {}
    for k, matrix in matrices.items():
        table = pd.DataFrame(matrix, columns=tokens)
        table.insert(0, "from", tokens, allow_duplicates=True)  # a reserved token may have this name
        tables[f"transitions_{k}"] = table
    return tables
