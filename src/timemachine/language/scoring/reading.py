"""Predictions of language models: each token is scored once, with the state carried from the text before it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.language.scoring.score import Readings, check_finite, score
from timemachine.text.tokens.corpus import HELD_OUT, Corpus
from timemachine.training.devices import device_of
from timemachine.training.state import State

# Tokens that are read at a time, and those of a stream without its warm-up.
_CHUNK_TOKENS, _LONGEST_STREAM = 8192, 20_000


@torch.inference_mode()
def read_streams(
    model: nn.Module,
    streams: Sequence[Tensor],
    num_warmup: Sequence[int],
    with_log_P: bool = False,
    tell: Callable[[int, int], object] = lambda *_: None,
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float32]]]:
    """Return the predictions of a model on several streams, as rows of one batch.

    All streams are padded to the longest one, so they should have about the same length.

    Args:
        model: maps indices (batch, num_steps) and a state to logits (batch, num_steps, vocab) and a state.
        streams: 1-D indices, at least two each.
        num_warmup: tokens at the start of each stream that are read but not scored; at least 1, because the
            first token has no prediction.
        with_log_P: also return whole distributions.
        tell: called with the number of steps read and of all steps, after each chunk of about 8,192 tokens.

    Returns:
        −log P of the scored tokens (num_scored,) of each stream, in nats; and log P (num_scored, vocab) of each
        stream, or an empty list without `with_log_P`.

    Raises:
        UserError: a log P is not finite.
    """
    model.eval()
    X = nn.utils.rnn.pad_sequence(list(streams), batch_first=True).to(device_of(model))  # (batch, longest)
    nats, kept = [], []
    state: State = None
    chunk = max(_CHUNK_TOKENS // len(X), 1)  # steps
    for begin in range(0, X.shape[1] - 1, chunk):
        labels = X[:, begin + 1 : begin + 1 + chunk]
        logits, state = model(X[:, begin : begin + labels.shape[1]], state)
        log_P = logits.log_softmax(-1)
        nats.append(-log_P.gather(-1, labels[..., None])[..., 0].double())
        if with_log_P:
            kept.append(log_P.float())
        tell(begin + labels.shape[1], X.shape[1] - 1)
    scored = [slice(first - 1, len(stream) - 1) for stream, first in zip(streams, num_warmup, strict=True)]
    found = [row[places].numpy() for row, places in zip(torch.cat(nats, 1).cpu(), scored, strict=True)]
    distributions = []
    if with_log_P:
        distributions = [row[places].numpy() for row, places in zip(torch.cat(kept, 1).cpu(), scored, strict=True)]
    for predicted in [*found, *distributions]:
        check_finite(predicted)
    return found, distributions


def read_parts(
    model: nn.Module,
    corpus: Corpus,
    train_range: Sequence[int],
    num_warmup: int,
    num_streams: int,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> Readings:
    """Return the predictions of a model on the tokens that it was trained on, the validation and the test part.

    Each token is scored once. Each part is read as `num_streams` streams side by side, or as more in a part of
    more than `num_streams` × 20,000 tokens, because more rows are faster. A stream starts `num_warmup` tokens
    early, so that its state carries the text before it. The first token of the corpus has no text before it and is
    not scored.

    Args:
        model: a language model.
        corpus: the corpus of the model. If its level is `char`, the readings of the held-out parts have `log_P`.
        train_range: first index, and one past the last, of the tokens the model was trained on.
        num_warmup: tokens that a stream reads before the first token that it scores.
        num_streams: least number of streams that a part is cut into.
        show: reports progress: steps read of a part, their number, and the part.

    Raises:
        UserError: `train_range` is not within the train part, or a log P is not finite.
    """
    ranges = corpus.split | {"train": (train_range[0], train_range[1])}
    if not 0 <= train_range[0] < train_range[1] <= corpus.split["train"][1]:
        raise UserError(f"train_range: {list(train_range)} is not within the train part {corpus.split['train']}")
    readings: Readings = {}
    for part, (begin, end) in ranges.items():
        streams, warmups = [], []
        num = max(num_streams, -(-(end - begin) // _LONGEST_STREAM))
        for first, last in pairwise(begin + (end - begin) * i // num for i in range(num + 1)):
            start = max(first - num_warmup, 0)
            first = max(first, start + 1)
            if first < last:
                streams.append(torch.from_numpy(corpus.tokens[start:last].astype("int64")))
                warmups.append(first - start)
        with_log_P, tell = corpus.level == "char" and part in HELD_OUT, partial(_tell, show, part)
        nats, log_P = read_streams(model, streams, warmups, with_log_P, tell)
        readings[part] = np.concatenate(nats)
        if log_P:
            readings[f"{part}.log_P"] = np.concatenate(log_P)
    return readings


def _tell(show: Callable[[int, int, str], object], part: str, done: int, total: int) -> None:
    show(done, total, f"steps, {part} part")


def score_report(readings: Readings, corpus: Corpus, train_range: Sequence[int]) -> dict[str, Any]:
    """Return the scores of what `read_parts` returned, and those of the uniform distribution, by part."""
    parts = {part: corpus.part(part) for part in corpus.split}
    nats = math.log(len(corpus.vocabulary))
    uniform = {part: score(nats * len(tokens), tokens, corpus) for part, tokens in parts.items()}
    parts["train"] = corpus.tokens[train_range[1] - len(readings["train"]) : train_range[1]]
    scores = {part: score(float(readings[part].sum()), tokens, corpus) for part, tokens in parts.items()}
    return {"scores": scores, "uniform": uniform}
