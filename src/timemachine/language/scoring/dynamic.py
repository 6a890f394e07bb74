"""Dynamic evaluation: a model is trained further on each segment of the text, after the segment is scored.

A long text is read as several streams side by side: the next segments of all streams are scored, then the model
learns from all of them. A prediction then also depends on earlier segments of other streams, which may come later
in the text, but not on its own segment. The test part is read after the validation part.

Source: B. Krause, E. Kahembwe, I. Murray, S. Renals, Dynamic Evaluation of Neural Sequence Models, 2018.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from timemachine.base.errors import UserError
from timemachine.language.scoring.score import check_finite
from timemachine.training.state import State, detach

_NOTHING = -100  # a label that is not scored
# Held-out tokens that are read as one stream, and tokens of a stream in a longer text.
_MOST_IN_ONE, _STREAM_LENGTH = 1_000_000, 50_000


def streams_of(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return numbers of tokens and of streams that parts of these lengths are read as, one after the other.

    Up to 1,000,000 tokens are one stream through all parts. Of more, each part is read as streams of about 50,000.
    """
    if sum(lengths) <= _MOST_IN_ONE:
        return [(sum(lengths), 1)]
    return [(length, -(-length // _STREAM_LENGTH)) for length in lengths]


def read_and_learn(
    model: nn.Module,
    tokens: Tensor,
    num_rms: int,
    first: int,
    num_steps: int,
    lr: float,
    parts: Sequence[tuple[int, int]] = (),
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> NDArray[np.float32]:
    """Return the log P of tokens[first:] by a model that is updated after every `num_steps` tokens.

    A segment is scored before its gradient g changes the weights: w ← w − lr g / (r + r̄), where r is the root
    mean square of each weight's gradient on text before `first`, and r̄ the mean of r over all weights. Of streams
    side by side, g is the sum of the gradients of their segments.

    Args:
        model: a language model without dropout; its weights are changed.
        tokens: (num_tokens,) indices on the model's device; those before `first` only set the state and r.
        num_rms: number of tokens before `first` that r is measured on.
        first: index of the first token to score, at least `num_rms` + 2.
        num_steps: tokens of a segment.
        lr: learning rate.
        parts: what `streams_of` returns for the text from `first` on; one stream if it is empty.
        show: reports progress: tokens read with their gradient, their number, and what they are.

    Returns:
        (num_tokens − first, vocab) log P of the whole vocabulary at each place.

    Raises:
        UserError: fewer than `num_rms` + 2 tokens before `first`, or the model diverged because `lr` is too large.
    """
    if first < num_rms + 2:  # the first of the num_rms tokens needs a token before it
        raise UserError(f"num_rms: {num_rms} is too many: there are only {first} tokens before the held-out text")
    model.eval()
    parameters: list[Tensor] = list(model.parameters())
    squares = [torch.zeros_like(p) for p in parameters]
    num_read, num_tokens = 0, num_rms + len(tokens) - first
    for log_P, gradients in _segments(model, tokens[None, :first], first - num_rms, num_steps):
        for square, gradient in zip(squares, gradients, strict=True):
            square.addcmul_(gradient, gradient)
        num_read += log_P.shape[1]
        show(num_read, num_tokens, "tokens")
    num_segments = -(-num_rms // num_steps)
    rms = [(s / num_segments).sqrt() for s in squares]
    mean = torch.cat([r.flatten() for r in rms]).mean()
    # If all gradients are 0, as on a text of one repeated token, the weights stay as they are.
    moves = bool(mean > 0)
    sizes = [r + mean if moves else torch.full_like(r, math.inf) for r in rms]
    all_log_P, begin = [], first
    for length, num_streams in parts or [(len(tokens) - first, 1)]:
        scored = []
        num_before = begin if num_streams == 1 else first - num_rms  # these set the state of a stream
        rows = _rows(tokens, begin, begin + length, num_streams, num_before)
        for log_P, gradients in _segments(model, rows, num_before, num_steps):
            scored.append(log_P)
            with torch.no_grad():
                for parameter, gradient, size in zip(parameters, gradients, sizes, strict=True):
                    parameter.addcdiv_(gradient, size, value=-lr * num_streams)
            num_read += log_P.shape[0] * log_P.shape[1]
            show(min(num_read, num_tokens), num_tokens, "tokens")
        all_log_P.append(torch.cat(scored, 1).flatten(0, 1)[:length].cpu().numpy())
        check_finite(all_log_P[-1])
        begin += length
    return np.concatenate(all_log_P)


def _rows(tokens: Tensor, begin: int, end: int, num_streams: int, num_before: int) -> Tensor:
    """Return tokens[begin:end] as streams (num_streams, num_before + length), each with tokens before it.

    The last stream may be shorter, and is padded with `_NOTHING`.
    """
    length = -(-(end - begin) // num_streams)
    padded = F.pad(tokens[begin - num_before : end], (0, num_streams * length - (end - begin)), value=_NOTHING)
    return padded.unfold(0, num_before + length, length)


def _segments(
    model: nn.Module, tokens: Tensor, first: int, num_steps: int
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield log P (num_streams, length, vocab) of each segment from `first` on, and the gradient of its mean nats.

    tokens are of shape (num_streams, num_tokens), `_NOTHING` where a stream has ended.
    """
    parameters = list(model.parameters())
    state: State = None
    with torch.no_grad():
        _, state = model(tokens[:, : first - 1], None)
    for begin in range(first, tokens.shape[1], num_steps):
        labels = tokens[:, begin : begin + num_steps]
        logits, state = model(tokens[:, begin - 1 : begin - 1 + labels.shape[1]].clamp(min=0), detach(state))
        log_P = logits.log_softmax(-1)
        loss = F.nll_loss(log_P.flatten(0, 1), labels.flatten(), ignore_index=_NOTHING)
        yield log_P.detach(), list(torch.autograd.grad(loss, parameters))
