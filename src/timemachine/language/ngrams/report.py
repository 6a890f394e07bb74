"""Report on the n-grams of a corpus: counts, Zipf exponents, sequence probabilities, Markov chain."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.engines import Rows
from timemachine.language.ngrams.occurrences import Occurrences
from timemachine.text.tokens.corpus import Corpus
from timemachine.text.tokens.vocabulary import Vocabulary

Matrix = NDArray[np.float64]
Tokens = NDArray[np.integer]
# Ranks, ascending, and their counts.
Curve = tuple[NDArray[np.int64], NDArray[np.int64]]

ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}

# A figure cannot show more ranks than these.
_DRAWN = np.concatenate([np.arange(1, 100_000), np.unique(np.logspace(5, 13, 8001).astype(np.int64))])
# Tokens of a text that are read at a time.
_BLOCK = 2**22


def describe_counts(
    rows: Iterable[Rows], vocabulary: Vocabulary, num_top: int, zipf_ranks: Sequence[int], table: Path
) -> tuple[dict[str, Any], Curve]:
    """Describe the n-grams of a corpus, and write a CSV file of all of them, words joined by a space.

    Args:
        rows: blocks of distinct n-grams and their counts, most frequent first.
        vocabulary: the words.
        num_top: number of n-grams to report.
        zipf_ranks: first and last rank of the fit.
        table: the CSV file.

    Returns:
        The report, `total`, `distinct`, `zipf_exponent`, `zipf_ranks` and the `top` n-grams; and ranks with their
        counts, (num_ranks,) each, all up to 100,000 and 1,000 for each power of ten above.

    Raises:
        UserError: fewer than two n-grams are within the ranks of the fit.
    """
    words = np.array(vocabulary.tokens, dtype=object)
    total, distinct, top = 0, 0, list[list[Any]]()
    head, chosen, curve = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with table.open("w", encoding="utf-8", newline="") as file:
        for ngrams, counts in rows:
            block = pd.DataFrame({"ngram": [" ".join(row) for row in words[ngrams]], "count": counts})
            block.to_csv(file, index=False, header=not distinct, lineterminator="\n")
            top += block.head(num_top - len(top)).to_numpy().tolist()
            head.append(counts[: max(zipf_ranks[1] - distinct, 0)].copy())  # a view would keep the block in memory
            begin, end = np.searchsorted(_DRAWN, [distinct + 1, distinct + len(counts) + 1])
            chosen.append(_DRAWN[begin:end])
            curve.append(counts[_DRAWN[begin:end] - distinct - 1])
            total, distinct = total + int(counts.sum()), distinct + len(counts)
    exponent, ranks = fit_exponent(np.concatenate(head), *zipf_ranks)
    content = {
        "total": total,
        "distinct": distinct,
        "zipf_exponent": exponent,
        "zipf_ranks": list(ranks),
        "top": top,
    }
    return content, (np.concatenate(chosen), np.concatenate(curve))


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
    encoded = [np.array(corpus.tokenizer.encode(sequence), dtype=np.int64) for sequence in sequences]
    estimates = {"maximum_likelihood": (0.0, 0.0, 0.0), "smoothed": epsilon}
    occurrences = Occurrences(corpus.tokens, len(corpus.vocabulary), encoded)
    rows = []
    for sequence, tokens in zip(sequences, encoded, strict=True):
        row: dict[str, Any] = {"sequence": sequence}
        for estimate, e in estimates.items():
            nats = {name: float(occurrences.log_probabilities(tokens, n, e).sum()) for name, n in ORDERS.items()}
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
    counts = np.zeros((vocab_size, vocab_size))
    for before, after in _pairs(tokens, 1):
        pairs = before.astype(np.int64) * vocab_size + after
        counts += np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size)
    counts[counts.sum(1) == 0] = np.eye(vocab_size)[counts.sum(1) == 0]
    return np.linalg.matrix_power(counts / counts.sum(1, keepdims=True), k)


def mean_nats(transitions: Matrix, tokens: NDArray[np.integer], k: int) -> float:
    """Return the mean of −log P(x_{t+k} | x_t) over the sequence that the k-step matrix was counted on, in nats.

    Raises:
        UserError: the sequence has no two tokens k apart.
    """
    if len(tokens) <= k:
        raise UserError(f"ngrams.markov_steps: a text of {len(tokens)} tokens has no pair {k} apart")
    nats = sum(np.log(transitions[before, after]).sum() for before, after in _pairs(tokens, k))
    return -float(nats / (len(tokens) - k))


def _pairs(tokens: Tokens, k: int) -> Iterator[tuple[Tokens, Tokens]]:
    """Yield the tokens x_t and x_{t+k} in blocks."""
    for begin in range(0, len(tokens) - k, _BLOCK):
        end = min(begin + _BLOCK, len(tokens) - k)
        yield tokens[begin:end], tokens[begin + k : end + k]
