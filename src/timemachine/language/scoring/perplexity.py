"""Score language models: every token once, with the state carried from the text before it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timemachine.base.errors import UserError
from timemachine.language.scoring.score import Score
from timemachine.text.corpus import HELD_OUT, Corpus, Part
from timemachine.training.state import State

_CHUNK_STEPS = 1024


@dataclass(frozen=True)
class Reading:
    """What a model made of a stretch of text.

    Attributes:
        nats: (num_tokens,) −log P of each token given all before it.
        log_P: (num_tokens, vocab) log P of every token in its place, in float32; None where nobody asked.

    Raises:
        UserError: one of them is no finite number, as of a model whose training ended where it diverged.
    """

    nats: NDArray[np.float64]
    log_P: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not all(np.isfinite(made).all() for made in (self.nats, self.log_P) if made is not None):
            raise UserError("the model diverged: a log P is no finite number; lower lr")


@torch.inference_mode()
def read_streams(
    model: nn.Module,
    streams: Sequence[Tensor],
    num_warmup: Sequence[int],
    with_log_P: Collection[int] = (),
) -> list[Reading]:
    """Read several streams in one go and return what a model makes of their tokens after the warm-up.

    The streams are rows of one batch, so that several cost about as much as one.

    Args:
        model: maps indices (batch, num_steps) and a state to logits (batch, num_steps, vocab) and a state.
        streams: 1-D indices, at least two each.
        num_warmup: tokens of each stream that are read and not scored, at least 1: nothing predicts the first.
        with_log_P: streams, by number, whose whole distributions are kept.

    Raises:
        UserError: the model gives a token a log P that is no finite number.
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
        readings.append(Reading(all_nats[row, scored].numpy(), log_P))
    return readings


def read_parts(
    model: nn.Module, corpus: Corpus, train_range: tuple[int, int], num_warmup: int, num_streams: int
) -> dict[Part, Reading]:
    """Return what a model makes of every token it was trained on and of the validation and test part.

    Every token is scored once. Each part is read as `num_streams` streams side by side, and each stream starts
    `num_warmup` tokens early to carry the state of the text before it; only the first token of the whole
    corpus has no text before it, and is not scored.

    Args:
        model: a language model on the CPU.
        corpus: the model's corpus; of characters, whole distributions of the held-out parts are kept.
        train_range: first index, and one past the last, of the tokens the model was trained on.
        num_warmup: tokens that a stream reads before the first one it scores.
        num_streams: into how many streams a part is cut; 1 carries the state through all of it.

    Raises:
        UserError: `train_range` is not within the train part, or a log P is no finite number.
    """
    ranges = corpus.split | {"train": train_range}
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


def split_reading(reading: Reading, corpus: Corpus) -> dict[Part, Reading]:
    """Return the parts of a reading of the validation and the test part in one go."""
    cut = corpus.split["val"][1] - corpus.split["val"][0]
    log_P = (None, None) if reading.log_P is None else (reading.log_P[:cut], reading.log_P[cut:])
    return {"val": Reading(reading.nats[:cut], log_P[0]), "test": Reading(reading.nats[cut:], log_P[1])}


def score_readings(
    readings: Mapping[Part, Reading], corpus: Corpus, train_range: tuple[int, int]
) -> dict[Part, Score]:
    """Return the scores of what `read_parts` returned."""
    scores = {}
    for part, (_, end) in (corpus.split | {"train": train_range}).items():
        nats = readings[part].nats
        tokens = corpus.tokens[end - len(nats) : end]
        scores[part] = Score(float(nats.sum()), len(tokens), corpus.num_characters(tokens))
    return scores


def held_out_arrays(readings: Mapping[Part, Reading]) -> dict[str, NDArray[Any]]:
    """Return what is kept of the validation and test part: nats under the part's name, and log P by `.log_P`."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in HELD_OUT:
        arrays[part] = readings[part].nats
        if (log_P := readings[part].log_P) is not None:
            arrays[f"{part}.log_P"] = log_P
    return arrays


def uniform_scores(corpus: Corpus) -> dict[Part, Score]:
    """Return what a model that gives every token of the vocabulary the same probability scores on each part."""
    nats = math.log(len(corpus.vocabulary))
    parts = {part: corpus.part(part) for part in corpus.split}
    return {part: Score(nats * len(t), len(t), corpus.num_characters(t)) for part, t in parts.items()}
