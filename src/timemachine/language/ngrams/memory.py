"""How much memory the n-gram models of a corpus take, estimated before they are counted."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.language.ngrams.counts import check_length
from timemachine.language.ngrams.hashing import bytes_of_table
from timemachine.language.ngrams.smoothing import ORDERS
from timemachine.language.ngrams.trie import Trie
from timemachine.text.tokens.corpus import HELD_OUT, Corpus

# Tokens that are counted to estimate the number of distinct n-grams of a longer text, in as many stretches.
_SAMPLE, _NUM_STRETCHES = 2**22, 64
# Bytes: of the process with its libraries; of a k-gram in the tries of both directions, or in one with its
# Kneser–Ney estimates; beside them, of a k-gram of the largest k while it is numbered; and of the nats of a token
# under one model.
_PROCESS, _KGRAM, _LARGEST, _NATS = 250e6, 48, 24, 8


def check_memory(corpora: Mapping[str, tuple[Corpus, int]], max_memory: float) -> None:
    """Check that the n-gram models of every corpus fit the memory, before any of them is counted.

    Args:
        corpora: corpora with their highest order, by name.
        max_memory: of the process, in GB.

    Raises:
        UserError: those of a corpus do not; the message names the order that would. Or it has 2³¹ tokens or more.
    """
    for name, (corpus, max_order) in corpora.items():
        train, vocab_size = corpus.part("train"), len(corpus.vocabulary)
        check_length(len(train))
        if _estimate(_most_distinct(len(train), vocab_size, max_order), corpus)[-1] <= max_memory:
            continue
        needed = estimate_memory(corpus, max_order)
        if needed[-1] > max_memory:
            fitting = sum(gb <= max_memory for gb in needed)
            fits = f"order {fitting} fits" if fitting else f"order 1 needs {needed[0]:.2g}"
            raise UserError(
                f"ngram_models.max_memory: {max_memory:g} GB; the models of {name} to order {max_order} need about "
                f"{needed[-1]:.2g} GB; {fits}"
            )


def estimate_memory(corpus: Corpus, max_order: int) -> list[float]:
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
    return _estimate(distinct, corpus)


def _num_distinct(stretches: NDArray[np.integer], vocab_size: int, max_order: int) -> list[int]:
    levels = Trie.count(stretches.ravel(), vocab_size, _counted(max_order)).levels
    return [max(len(level.last), 1) for level in levels]


def _most_distinct(num_tokens: int, vocab_size: int, max_order: int) -> list[float]:
    """Return the greatest possible number of distinct k-grams, by k."""
    return [min(float(vocab_size) ** k, float(num_tokens)) for k in range(1, _counted(max_order) + 1)]


def _counted(max_order: int) -> int:
    """Return the order up to which n-grams are counted for models up to an order."""
    return max(max_order, ORDERS[-1])


def _estimate(distinct: Sequence[float], corpus: Corpus) -> list[float]:
    """Return the GB for each highest order, from the numbers of distinct k-grams by k."""
    num_held_out = sum(len(corpus.part(part)) for part in HELD_OUT)
    needed = []
    for order in range(1, len(distinct) + 1):
        counted = distinct[: _counted(order)]
        contexts = [1.0, *counted[:-1]]
        tables = [bytes_of_table(c * len(corpus.vocabulary), d) for c, d in zip(contexts, counted, strict=True)]
        num_models = 2 * len(ORDERS) + 2 * len(counted)
        needed.append(
            _PROCESS
            + 4 * len(corpus.part("train"))
            + num_held_out * (num_models * _NATS + 4 * len(counted) + 6 * 8)
            + sum(counted) * _KGRAM
            + max(counted) * _LARGEST
            + max(tables)
        )
    return [size / 1e9 for size in needed]
