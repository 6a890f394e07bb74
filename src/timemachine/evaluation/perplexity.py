"""Score language models: every token once, with the state carried from the text before it."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from timemachine.evaluation.score import Score
from timemachine.models.state import State
from timemachine.text.corpus import Corpus, Part

Nats = NDArray[np.float64]

_CHUNK_STEPS = 1024


@torch.inference_mode()
def token_nats(model: nn.Module, streams: Sequence[Tensor], num_warmup: Sequence[int]) -> list[Nats]:
    """Return −log P of each stream's tokens after its warm-up, reading every stream in one go.

    The streams are rows of one batch, so that several cost about as much as one.

    Args:
        model: maps indices (batch, num_steps) and a state to logits (batch, num_steps, vocab) and a state.
        streams: 1-D indices, at least two each.
        num_warmup: tokens of each stream that are read and not scored, at least 1: nothing predicts the first.

    Returns:
        For each stream (len − num_warmup,) nats.
    """
    model.eval()
    X = nn.utils.rnn.pad_sequence(list(streams), batch_first=True)  # (batch, longest)
    nats = torch.zeros(X.shape, dtype=torch.float64)
    state: State = None
    for begin in range(0, X.shape[1] - 1, _CHUNK_STEPS):
        end = min(begin + _CHUNK_STEPS, X.shape[1] - 1)
        logits, state = model(X[:, begin:end], state)
        labels = X[:, begin + 1 : end + 1]
        nats[:, begin + 1 : end + 1] = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return [row[first : len(stream)].numpy() for row, stream, first in zip(nats, streams, num_warmup, strict=True)]


def nats_by_part(
    model: nn.Module, corpus: Corpus, train_range: tuple[int, int], num_warmup: int, num_streams: int
) -> dict[Part, Nats]:
    """Return −log P of every token a model was trained on and of the validation and test part of its corpus.

    Every token is scored once. Each part is read as `num_streams` streams side by side, and each stream starts
    `num_warmup` tokens early to carry the state of the text before it; only the first token of the whole
    corpus has no text before it, and is not scored.

    Args:
        model: a language model on the CPU.
        corpus: the model's corpus.
        train_range: first index, and one past the last, of the tokens the model was trained on.
        num_warmup: tokens that a stream reads before the first one it scores.
        num_streams: into how many streams a part is cut; 1 carries the state through all of it.

    Returns:
        By part (num_tokens,) nats, in the order of the text.

    Raises:
        ValueError: `train_range` is not within the train part.
    """
    ranges = corpus.split | {"train": train_range}
    if not 0 <= train_range[0] < train_range[1] <= corpus.split["train"][1]:
        raise ValueError(f"train_range: {list(train_range)} is not within the train part {corpus.split['train']}")
    tokens = torch.from_numpy(corpus.tokens.astype("int64"))
    pieces: list[tuple[Part, int, int, int]] = []  # part, start of the warm-up, first scored, one past the last
    for part, (begin, end) in ranges.items():
        for first, last in pairwise(begin + (end - begin) * i // num_streams for i in range(num_streams + 1)):
            start = max(first - num_warmup, 0)
            first = max(first, start + 1)
            if first < last:
                pieces.append((part, start, first, last))
    scored = token_nats(
        model,
        [tokens[start:last] for _, start, _, last in pieces],
        [first - start for _, start, first, _ in pieces],
    )
    return {
        part: np.concatenate([nats for piece, nats in zip(pieces, scored, strict=True) if piece[0] == part])
        for part in ranges
    }


def score_nats(nats: Mapping[Part, Nats], corpus: Corpus, train_range: tuple[int, int]) -> dict[Part, Score]:
    """Return the scores of what `nats_by_part` returned."""
    scores = {}
    for part, (_, end) in (corpus.split | {"train": train_range}).items():
        tokens = corpus.tokens[end - len(nats[part]) : end]
        scores[part] = Score(float(nats[part].sum()), len(tokens), corpus.num_characters(tokens))
    return scores


def uniform_scores(corpus: Corpus) -> dict[Part, Score]:
    """Return what a model that gives every token of the vocabulary the same probability scores on each part."""
    nats = math.log(len(corpus.vocabulary))
    parts = {part: corpus.part(part) for part in corpus.split}
    return {part: Score(nats * len(t), len(t), corpus.num_characters(t)) for part, t in parts.items()}
