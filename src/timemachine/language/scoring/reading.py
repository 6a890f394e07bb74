"""Predictions of language models: each token is scored once, with the state carried from the text before it."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.language.scoring.score import Reading, Score
from timemachine.text.corpus import HELD_OUT, Corpus, Part
from timemachine.training.state import State

_CHUNK_STEPS = 1024


@torch.inference_mode()
def read_streams(
    model: nn.Module,
    streams: Sequence[Tensor],
    num_warmup: Sequence[int],
    with_log_P: Collection[int] = (),
) -> list[Reading]:
    """Return the predictions of a model on several streams, as rows of one batch.

    Args:
        model: maps indices (batch, num_steps) and a state to logits (batch, num_steps, vocab) and a state.
        streams: 1-D indices, at least two each.
        num_warmup: tokens at the start of each stream that are read but not scored; at least 1, because the
            first token has no prediction.
        with_log_P: indices of the streams whose whole distributions are returned.

    Raises:
        UserError: a log P is not finite.
    """
    model.eval()
    chosen = sorted(with_log_P)
    X = nn.utils.rnn.pad_sequence(list(streams), batch_first=True)  # (batch, longest)
    nats, kept = [], []
    state: State = None
    for begin in range(0, X.shape[1] - 1, _CHUNK_STEPS):
        labels = X[:, begin + 1 : begin + 1 + _CHUNK_STEPS]
        logits, state = model(X[:, begin : begin + labels.shape[1]], state)
        log_P = logits.log_softmax(-1)
        nats.append(-log_P.gather(-1, labels[..., None])[..., 0].double())
        if chosen:
            kept.append(log_P[chosen].float())
    all_nats = torch.cat(nats, 1)  # (batch, longest − 1)
    distributions = dict(zip(chosen, torch.cat(kept, 1), strict=True)) if chosen else {}
    readings = []
    for row, (stream, first) in enumerate(zip(streams, num_warmup, strict=True)):
        scored = slice(first - 1, len(stream) - 1)
        log_P = distributions[row][scored].numpy() if row in distributions else None
        readings.append(Reading(all_nats[row, scored].numpy(), log_P).checked())
    return readings


def read_parts(
    model: nn.Module, corpus: Corpus, train_range: Sequence[int], num_warmup: int, num_streams: int
) -> dict[Part, Reading]:
    """Return the predictions of a model on the tokens that it was trained on, the validation and the test part.

    Each token is scored once. Each part is read as `num_streams` streams side by side. A stream starts
    `num_warmup` tokens early, so that its state carries the text before it. The first token of the corpus has no
    text before it and is not scored.

    Args:
        model: a language model on the CPU.
        corpus: the corpus of the model. If its level is `char`, the readings of the held-out parts have `log_P`.
        train_range: first index, and one past the last, of the tokens the model was trained on.
        num_warmup: tokens that a stream reads before the first token that it scores.
        num_streams: number of streams that a part is cut into; with 1 the state is carried through the part.

    Raises:
        UserError: `train_range` is not within the train part, or a log P is not finite.
    """
    ranges = corpus.split | {"train": (train_range[0], train_range[1])}
    if not 0 <= train_range[0] < train_range[1] <= corpus.split["train"][1]:
        raise UserError(f"train_range: {list(train_range)} is not within the train part {corpus.split['train']}")
    tokens = torch.from_numpy(corpus.tokens.astype("int64"))
    pieces: list[tuple[Part, int, int, int]] = []  # part, start of the warm-up, first scored, one past the last
    for part, (begin, end) in ranges.items():
        for first, last in pairwise(begin + (end - begin) * i // num_streams for i in range(num_streams + 1)):
            start = max(first - num_warmup, 0)
            first = max(first, start + 1)
            if first < last:
                pieces.append((part, start, first, last))
    readings = read_streams(
        model,
        [tokens[start:last] for _, start, _, last in pieces],
        [first - start for _, start, first, _ in pieces],
        with_log_P=[i for i, piece in enumerate(pieces) if piece[0] in HELD_OUT and corpus.level == "char"],
    )
    joined = {}
    for part in ranges:
        chosen = [reading for piece, reading in zip(pieces, readings, strict=True) if piece[0] == part]
        log_P = [r.log_P for r in chosen if r.log_P is not None]
        joined[part] = Reading(np.concatenate([r.nats for r in chosen]), np.concatenate(log_P) if log_P else None)
    return joined


def score_report(readings: Mapping[Part, Reading], corpus: Corpus, train_range: Sequence[int]) -> dict[str, Any]:
    """Return the report of what `read_parts` returned: its scores, and those of the uniform distribution."""
    scores = {"scores": score_readings(readings, corpus, train_range), "uniform": uniform_scores(corpus)}
    return {key: {part: s.report() for part, s in by_part.items()} for key, by_part in scores.items()}


def score_readings(
    readings: Mapping[Part, Reading], corpus: Corpus, train_range: Sequence[int]
) -> dict[Part, Score]:
    """Return the score of each reading that `read_parts` returned."""
    ends = {part: end for part, (_, end) in corpus.split.items()} | {"train": train_range[1]}
    return {part: Score.of(readings[part].nats, corpus, end) for part, end in ends.items()}


def uniform_scores(corpus: Corpus) -> dict[Part, Score]:
    """Return the scores of a model that gives every token of the vocabulary the same probability."""
    nats = math.log(len(corpus.vocabulary))
    parts = {part: corpus.part(part) for part in corpus.split}
    return {part: Score(nats * len(t), len(t), corpus.num_characters(t)) for part, t in parts.items()}
