"""Decoding: choose the next token greedily or by sampling, and continue sequences token by token."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.text.tokens.vocabulary import Tokenizer
from timemachine.training.devices import device_of
from timemachine.training.graphs import Captured
from timemachine.training.state import State

GREEDY = Sampling(alpha=float("inf"))


def sampled_distribution(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return the distribution that `choose_tokens` draws from, most probable token first.

    Args:
        logits: (batch, vocab).
        sampling: α is applied first, then `top_k`, then `top_p`.

    Returns:
        Probabilities (batch, vocab), 0 for excluded tokens, and the indices (batch, vocab) that they belong to.
    """
    # In float64 and relative to the most probable token, so that a large α does not overflow.
    sharpened = (sampling.alpha * (logits - logits.amax(-1, keepdim=True)).double()).softmax(-1)
    P, tokens = sharpened.sort(stable=True, dim=-1, descending=True)
    if sampling.top_k is not None:
        P[:, sampling.top_k :] = 0
        P /= P.sum(-1, keepdim=True)
    if sampling.top_p is not None:
        P = P.where(P.cumsum(-1) - P < sampling.top_p, 0)  # the token that reaches top_p is kept
        P /= P.sum(-1, keepdim=True)
    return P, tokens


def choose_tokens(logits: Tensor, sampling: Sampling, u: Tensor) -> Tensor:
    """Return the next token of each row.

    Args:
        logits: (batch, vocab).
        sampling: how it is chosen.
        u: (batch,) uniform numbers in [0, 1), mapped to tokens by the inverse distribution function.

    Returns:
        (batch,) indices.
    """
    if sampling.alpha == float("inf"):
        return logits.argmax(-1)
    if sampling == Sampling():
        cumulated, tokens = logits.softmax(-1).cumsum(-1), None
    else:
        P, tokens = sampled_distribution(logits, sampling)
        cumulated = P.cumsum(-1)
    # The last sum may differ from 1 by rounding; scaled by it, no token of probability 0 is drawn.
    position = torch.searchsorted(cumulated, (u[:, None] * cumulated[:, -1:]), right=True)  # (batch, 1)
    position = position.clamp(max=logits.shape[-1] - 1)
    return (position if tokens is None else tokens.gather(-1, position)).squeeze(-1)


@torch.inference_mode()
def continue_sequences(
    model: nn.Module,
    prefixes: Sequence[Sequence[int]],
    num_preds: int,
    sampling: Sampling = GREEDY,
    generator: Generator | None = None,
) -> list[list[int]]:
    """Continue several prefixes in one batch: read each prefix, then feed every chosen token back.

    The state is carried, so that a token costs one step at any length of the text. The random numbers of a row
    depend on the generator, the index of the row and `num_preds`, not on the other rows.

    Args:
        model: a language model; on a GPU a token of all rows is one CUDA graph.
        prefixes: indices, at least one each; they may differ in length.
        num_preds: number of tokens to generate for each prefix.
        sampling: how each token is chosen.
        generator: source of randomness, on the CPU, so that all devices draw the same numbers; required unless
            `sampling` is greedy.

    Returns:
        The generated tokens of each prefix, without the prefix.

    Raises:
        ValueError: `sampling` needs a generator and there is none.
    """
    if not prefixes or num_preds == 0:
        return [[] for _ in prefixes]
    if sampling.alpha < float("inf") and generator is None:
        raise ValueError("sampling needs a generator")
    model.eval()
    batch, device = len(prefixes), device_of(model)
    lengths = [len(prefix) for prefix in prefixes]
    longest, shortest = max(lengths), min(lengths)
    text = torch.zeros(batch, longest + num_preds, dtype=torch.int64)
    for row, prefix in zip(text, prefixes, strict=True):
        row[: len(prefix)] = torch.tensor(prefix)
    u = torch.rand(batch, num_preds, generator=generator) if generator else torch.zeros(batch, num_preds)
    written = (
        torch.arange(longest + num_preds) - torch.tensor(lengths)[:, None]
    )  # tokens of the row, if not negative
    u = u.gather(1, written.clamp(0, num_preds - 1)).to(device)  # (batch, longest + num_preds)
    text, is_given = text.to(device), (written < 0).to(device)

    def step(read: Tensor, u: Tensor, state: State) -> tuple[Tensor, State]:
        logits, state = model(read, state)
        return choose_tokens(logits[:, -1], sampling, u), state

    take = Captured(step, device) if device.type == "cuda" else step
    state: State = None
    begin = 0
    # Rows with a short prefix already generate while the others still read theirs.
    for end in range(shortest, longest + num_preds):
        chosen, state = take(text[:, begin:end], u[:, end], state)
        text[:, end] = chosen if end >= longest else torch.where(is_given[:, end], text[:, end], chosen)
        begin = end
    return [row[length : length + num_preds] for row, length in zip(text.tolist(), lengths, strict=True)]


def continue_texts(
    model: nn.Module,
    tokenizer: Tokenizer,
    prefixes: Sequence[str],
    num_preds: Sequence[int],
    sampling: Sampling = GREEDY,
    seed: int = 0,
) -> list[str]:
    """Return each prefix and its continuation by a model, all computed in one batch, as text.

    Characters or words that are not in the vocabulary are read, and returned, as `<unk>`.

    Args:
        model: a language model.
        tokenizer: the tokenizer of the corpus that the model was trained on.
        prefixes: texts of at least one token each.
        num_preds: number of tokens to generate for each prefix.
        sampling: how each token is chosen.
        seed: seed of the random generator. The same arguments give the same texts.

    Raises:
        UserError: a prefix has no token.
    """
    indices = [tokenizer.encode(prefix) for prefix in prefixes]
    if not all(indices):
        raise UserError(f"the prefix {prefixes[indices.index([])]!r} holds no token")
    continued = continue_sequences(model, indices, max(num_preds), sampling, Generator().manual_seed(seed))
    return [
        tokenizer.decode([*prefix, *rest[:wanted]])
        for prefix, rest, wanted in zip(indices, continued, num_preds, strict=True)
    ]
