"""Predictions and scores of a language model on a text: nats, bits per character, perplexity."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timemachine.base.errors import UserError
from timemachine.base.files import read_arrays
from timemachine.text.tokens.corpus import HELD_OUT, Corpus
from timemachine.text.tokens.perplexity import perplexity

# The predictions of a model, as they are stored: `<part>`, −log P of each token of a part given all before it, in
# nats, (num_tokens,); for some models also `<part>.log_P`, log P of the whole vocabulary at each place,
# (num_tokens, vocab), as float32.
Readings = dict[str, NDArray[Any]]
_BLOCK = 2**16
_ROUNDING = 1e-3  # by how much a sum of probabilities that were stored as float32 may differ from 1


def check_finite(predicted: NDArray[np.floating]) -> None:
    """Check nats or log P of any shape.

    Raises:
        UserError: a value is not finite, because the training of the model diverged.
    """
    if not np.isfinite(predicted).all():
        raise UserError("the model diverged: a log P is not finite; lower lr")


def nats_of(log_P: NDArray[np.floating], tokens: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return −log P of the tokens (num_tokens,), from log P (…, num_tokens, vocab); (…, num_tokens)."""
    return -log_P[..., np.arange(len(tokens)), tokens].astype(np.float64)


def held_out_readings(
    blocks: Iterable[NDArray[np.floating]], corpus: Corpus, num_models: int = 1
) -> list[Readings]:
    """Return the readings of the validation and the test part under each of several models.

    Args:
        blocks: (block_tokens, num_models, vocab) log P of the vocabulary at consecutive tokens of both parts.
        corpus: the corpus.
        num_models: how many models.
    """
    first, last = corpus.split["val"][0], corpus.split["test"][1]
    tokens = corpus.tokens[first:last]
    all_log_P = np.empty((num_models, len(tokens), len(corpus.vocabulary)), dtype=np.float32)
    nats, begin = np.empty((num_models, len(tokens))), 0
    for block in blocks:
        log_P, end = block.swapaxes(0, 1), begin + len(block)  # (num_models, block_tokens, vocab)
        nats[:, begin:end] = nats_of(log_P, tokens[begin:end])  # before log P is rounded
        all_log_P[:, begin:end] = log_P
        begin = end
    cuts = {part: slice(corpus.split[part][0] - first, corpus.split[part][1] - first) for part in HELD_OUT}
    return [
        {part: n[cut] for part, cut in cuts.items()} | {f"{part}.log_P": P[cut] for part, cut in cuts.items()}
        for n, P in zip(nats, all_log_P, strict=True)
    ]


def read_distributions(path: Path, corpus: Corpus) -> Readings:
    """Return the readings of a model of characters from a file.

    Raises:
        UserError: the file does not exist, is damaged, or is about another corpus or other parts.
    """
    readings = read_arrays(path)
    for part in HELD_OUT:
        tokens = corpus.part(part)
        nats, log_P = (readings.get(key, np.empty(0)) for key in (part, f"{part}.log_P"))
        fits = nats.shape == tokens.shape and log_P.shape == (len(tokens), len(corpus.vocabulary))
        if not fits or not all(_agree(nats[b], log_P[b], tokens[b]) for b in blocks_of(len(tokens))):
            raise UserError(f"{path}: not scores of the {part} part of this corpus; recreate it with `dvc repro`")
    return readings


def _agree(nats: NDArray[np.floating], log_P: NDArray[np.floating], tokens: NDArray[np.integer]) -> bool:
    """Return whether log P (num_tokens, vocab) are distributions, and nats (num_tokens,) those of the tokens."""
    if not (np.isfinite(log_P) & (log_P < _ROUNDING)).all():
        return False
    sums = np.exp(log_P, dtype=np.float64).sum(1)
    return np.allclose(sums, 1, rtol=0, atol=_ROUNDING) and np.allclose(nats, nats_of(log_P, tokens))


def blocks_of(num_tokens: int, length: int = _BLOCK) -> Iterator[slice]:
    """Yield slices of a text that bound the memory for float64 distributions; by default a book's part is one."""
    for begin in range(0, num_tokens, length):
        yield slice(begin, min(begin + length, num_tokens))


def score(total_nats: float, tokens: NDArray[np.unsignedinteger], corpus: Corpus) -> dict[str, float | int | None]:
    """Return the rates of a scored text for a JSON report; infinity, which JSON does not have, becomes None.

    Args:
        total_nats: sum of −log P over the tokens; each rate divides it once.
        tokens: (num_tokens,) the scored tokens.
        corpus: their corpus.

    Returns:
        `nats` per token, `bits_per_character` of cleaned text, `perplexity`, which is exp(nats per token) and at
        most 1e100, and the number of `tokens`.
    """
    nats = total_nats / len(tokens)
    rates = {
        "nats": nats,
        "bits_per_character": total_nats / corpus.num_characters(tokens) / math.log(2),
        "perplexity": perplexity(nats),
    }
    return {name: rate if total_nats < math.inf else None for name, rate in rates.items()} | {
        "tokens": len(tokens)
    }
