"""Report on the n-grams of a corpus: counts, Zipf exponents, sequence probabilities, Markov chain."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.chain import log_probabilities
from timemachine.language.ngrams.counts import count_ngrams
from timemachine.language.ngrams.smoothing import SmoothedNgrams
from timemachine.text.corpus import Corpus

Matrix = NDArray[np.float64]

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


def fit_exponent(counts: NDArray[np.integer], first_rank: int, last_rank: int) -> tuple[float, tuple[int, int]]:
    """Fit Zipf's law, log n_i = −α log i + c, by least squares over ranks first_rank … last_rank.

    Args:
        counts: (num_distinct,) in descending order; the first has rank 1.
        first_rank: first rank of the fit, at least 1.
        last_rank: last rank of the fit; at most the number of distinct n-grams is used.

    Returns:
        α, and the first and last rank of the fit.

    Raises:
        UserError: fewer than two ranks are left.
    """
    last_rank = min(last_rank, len(counts))
    if last_rank - first_rank < 1:
        raise UserError(f"ngrams.zipf_ranks: ranks {first_rank} to {last_rank} are too few: {len(counts)} n-grams")
    ranks = np.arange(first_rank, last_rank + 1)
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[first_rank - 1 : last_rank]), 1)
    return -float(slope), (first_rank, last_rank)


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


def transition_matrix(tokens: NDArray[np.integer], vocab_size: int, k: int = 1) -> Matrix:
    """Return P(x_{t+k} | x_t), rows by x_t: the k-th power of the maximum-likelihood estimate of P(x_{t+1} | x_t).

    The shape is (vocab_size, vocab_size). A token that is never followed by another has probability 1 of staying,
    so that every row is a distribution.
    """
    pairs = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
    counts = np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size).astype(np.float64)
    counts[counts.sum(1) == 0] = np.eye(vocab_size)[counts.sum(1) == 0]
    return np.linalg.matrix_power(counts / counts.sum(1, keepdims=True), k)


def mean_nats(transitions: Matrix, tokens: NDArray[np.integer], k: int) -> float:
    """Return the mean of −log P(x_{t+k} | x_t) over the sequence that the k-step matrix was counted on, in nats.

    Raises:
        UserError: the sequence has no two tokens k apart.
    """
    if len(tokens) <= k:
        raise UserError(f"ngrams.markov_steps: a text of {len(tokens)} tokens has no pair {k} apart")
    return -float(np.log(transitions[tokens[:-k], tokens[k:]]).mean())
