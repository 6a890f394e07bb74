"""Dynamic evaluation: a model is trained further on each segment of the text, after the segment is scored.

Source: B. Krause, E. Kahembwe, I. Murray, S. Renals, Dynamic Evaluation of Neural Sequence Models, 2018.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from timemachine.base.errors import UserError
from timemachine.language.scoring.score import check_finite
from timemachine.training.state import State, detach


def read_and_learn(
    model: nn.Module,
    tokens: Tensor,
    num_rms: int,
    first: int,
    num_steps: int,
    lr: float,
    show: Callable[[int, int, str], object] = lambda *_: None,
) -> NDArray[np.float32]:
    """Return the log P of tokens[first:] by a model that is updated after every `num_steps` tokens.

    A segment is scored before its gradient g changes the weights: w ← w − lr g / (r + r̄), where r is the root
    mean square of each weight's gradient on text before `first`, and r̄ the mean of r over all weights.

    Args:
        model: a language model without dropout; its weights are changed.
        tokens: (num_tokens,) indices on the model's device; those before `first` only set the state and r.
        num_rms: number of tokens before `first` that r is measured on.
        first: index of the first token to score, at least `num_rms` + 2.
        num_steps: tokens of a segment.
        lr: learning rate.
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
    for log_P, gradients in _segments(model, tokens[:first], first - num_rms, num_steps):
        for square, gradient in zip(squares, gradients, strict=True):
            square.addcmul_(gradient, gradient)
        num_read += len(log_P)
        show(num_read, num_tokens, "tokens")
    num_segments = -(-num_rms // num_steps)
    rms = [(s / num_segments).sqrt() for s in squares]
    mean = torch.cat([r.flatten() for r in rms]).mean()
    # If all gradients are 0, as on a text of one repeated token, the weights stay as they are.
    moves = bool(mean > 0)
    sizes = [r + mean if moves else torch.full_like(r, math.inf) for r in rms]
    scored = []
    for log_P, gradients in _segments(model, tokens, first, num_steps):
        scored.append(log_P)
        with torch.no_grad():
            for parameter, gradient, size in zip(parameters, gradients, sizes, strict=True):
                parameter.addcdiv_(gradient, size, value=-lr)
        num_read += len(log_P)
        show(num_read, num_tokens, "tokens")
    all_log_P = torch.cat(scored).cpu().numpy()
    check_finite(all_log_P)
    return all_log_P


def _segments(
    model: nn.Module, tokens: Tensor, first: int, num_steps: int
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield log P (length, vocab) of each segment from `first` on, and the gradient of its mean nats."""
    parameters = list(model.parameters())
    state: State = None
    with torch.no_grad():
        _, state = model(tokens[None, : first - 1], None)
    for begin in range(first, len(tokens), num_steps):
        labels = tokens[begin : begin + num_steps]
        logits, state = model(tokens[None, begin - 1 : begin - 1 + len(labels)], detach(state))
        log_P = logits[0].log_softmax(-1)
        yield log_P.detach(), list(torch.autograd.grad(F.nll_loss(log_P, labels), parameters))
