"""How much memory the n-gram models of a corpus take, estimated before they are counted."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.config import NgramModelsParams
from timemachine.language.ngrams.counts import check_length
from timemachine.language.ngrams.hashing import bytes_of_table
from timemachine.language.ngrams.smoothing import ORDERS
from timemachine.language.ngrams.trie import Trie
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

# Tokens that are counted to estimate the number of distinct n-grams of a longer text, in as many stretches.
_SAMPLE, _NUM_STRETCHES = 2**22, 64
# Bytes: of the process with its libraries; of a token while its n-grams are numbered; of a k-gram in one trie, and
# in two of them or with its Kneser–Ney estimates; beside them, of a k-gram of the largest k while it is numbered
# or reversed.
_PROCESS, _TOKEN, _TRIE, _MODELS, _LARGEST = 250e6, 4, 16, 48, 28


def check_memory(corpora: Mapping[str, Corpus], p: NgramModelsParams) -> None:
    """Check that the n-gram models of every corpus fit `p.max_memory`, before any of them is counted.

    Args:
        corpora: the corpora of `p.corpora`, by name.
        p: section `ngram_models`.

    Raises:
        UserError: those of a corpus do not; the message names the order that would. Or it has 2³¹ tokens or more.
    """
    for name, corpus in corpora.items():
        train, max_order = corpus.part("train"), p.corpora[name]
        check_length(len(train))
        if _gigabytes(_most_distinct(len(train), len(corpus.vocabulary), max_order), corpus, p) <= p.max_memory:
            continue
        needed = estimate_memory(corpus, max_order, p)
        if needed[-1] > p.max_memory:
            num_fitting = sum(gb <= p.max_memory for gb in needed)
            fits = f"order {num_fitting} fits" if num_fitting else f"order 1 needs {needed[0]:.2f} GB"
            raise UserError(
                f"ngram_models.corpora.{name}: order {max_order} needs about {needed[-1]:.2f} GB; "
                f"ngram_models.max_memory is {p.max_memory:g}; {fits}"
            )


def estimate_memory(corpus: Corpus, max_order: int, p: NgramModelsParams) -> list[float]:
    """Return the GB that the stage takes for a corpus, for each highest order from 1 to `max_order`.

    The numbers of distinct n-grams are those of a sample, extrapolated as a power of the number of tokens (Heaps'
    law). The exponent is that from half of the sample to all of it. It falls as a text grows, so the estimate is
    an upper one.
    """
    train, vocab_size = corpus.part("train"), len(corpus.vocabulary)
    num_stretches = _NUM_STRETCHES if len(train) > _SAMPLE else 1
    length = min(len(train), _SAMPLE) // num_stretches
    starts = np.linspace(0, len(train) - length, num_stretches).astype(np.int64)
    sample = np.stack([train[start : start + length] for start in starts])
    of_all = _num_distinct(sample, vocab_size, max_order)
    of_half = _num_distinct(sample[::2], vocab_size, max_order)
    growth = math.log2(len(train) / sample.size)
    most = _most_distinct(len(train), vocab_size, max_order)
    distinct = [
        min(a * 2 ** (growth * math.log2(a / h)), n) for a, h, n in zip(of_all, of_half, most, strict=True)
    ]
    return [_gigabytes(distinct[: _counted(order)], corpus, p) for order in range(1, max_order + 1)]


def _num_distinct(stretches: NDArray[np.integer], vocab_size: int, max_order: int) -> list[int]:
    levels = Trie.count(stretches.ravel(), vocab_size, _counted(max_order)).levels
    return [max(len(level.last), 1) for level in levels]


def _most_distinct(num_tokens: int, vocab_size: int, max_order: int) -> list[float]:
    """Return the greatest possible number of distinct k-grams, by k."""
    return [float(min(vocab_size**k, num_tokens)) for k in range(1, _counted(max_order) + 1)]


def _counted(max_order: int) -> int:
    """Return the order up to which n-grams are counted for models up to an order."""
    return max(max_order, ORDERS[-1])


def _gigabytes(distinct: Sequence[float], corpus: Corpus, p: NgramModelsParams) -> float:
    """Return the memory for numbers of distinct k-grams, k = 1, 2, …: the larger of those of the two phases."""
    contexts = [1.0, *distinct[:-1]]
    tables = [bytes_of_table(c * len(corpus.vocabulary), d) for c, d in zip(contexts, distinct, strict=True)]
    counting = _TOKEN * len(corpus.part("train")) + max(tables) + _TRIE * sum(distinct) + _LARGEST * max(distinct)
    num_held_out = sum(len(corpus.part(part)) for part in HELD_OUT)
    num_models = 2 * len(ORDERS) + 2 * len(distinct)
    nats = num_held_out * (8 * num_models + 4 * len(distinct) + 8 * 6)  # with ids, and what one order needs
    resampled = 4 * p.num_samples * num_held_out / p.block_length
    scoring = nats + resampled + _MODELS * sum(distinct[:-1]) + (_TRIE + _LARGEST) * distinct[-1]
    return (_PROCESS + corpus.tokens.nbytes + max(counting, scoring)) / 1e9
