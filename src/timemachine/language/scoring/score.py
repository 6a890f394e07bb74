"""Predictions and scores of a language model on a text: nats, bits per character, perplexity."""

import math
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
# (num_tokens, vocab).
Readings = dict[str, NDArray[Any]]
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


def held_out_readings(log_P: NDArray[np.floating], corpus: Corpus) -> Readings:
    """Return the readings of the validation and the test part from the log P (num_tokens, vocab) of both."""
    first = corpus.split["val"][0]
    readings: Readings = {}
    for part in HELD_OUT:
        begin, end = corpus.split[part]
        readings[f"{part}.log_P"] = log_P[begin - first : end - first]
        readings[part] = nats_of(readings[f"{part}.log_P"], corpus.part(part))
    return readings


def read_distributions(path: Path, corpus: Corpus) -> Readings:
    """Return the readings of a model of characters from a file, as float64.

    Raises:
        UserError: the file does not exist, is damaged, or is about another corpus or other parts.
    """
    readings = {key: array.astype(float) for key, array in read_arrays(path).items()}
    for part in HELD_OUT:
        tokens = corpus.part(part)
        nats, log_P = (readings.get(key, np.empty(0)) for key in (part, f"{part}.log_P"))
        fits = nats.shape == tokens.shape and log_P.shape == (len(tokens), len(corpus.vocabulary))
        fits = fits and bool((np.isfinite(log_P) & (log_P < _ROUNDING)).all())
        fits = fits and np.allclose(np.exp(log_P).sum(1), 1, rtol=0, atol=_ROUNDING)
        if not fits or not np.allclose(nats, nats_of(log_P, tokens)):
            raise UserError(f"{path}: not scores of the {part} part of this corpus; recreate it with `dvc repro`")
    return readings


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
