"""Let a language model write: greedily, or sampled from its distribution made sharper or cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from timemachine.base.errors import UserError
from timemachine.language.generation.config import Prefix
from timemachine.text.vocabulary import Tokenizer
from timemachine.training.state import State


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from P; without a change, by a draw from P itself.

    Attributes:
        alpha: draws from P^α, renormalised: 1 is P, above 1 sharper, ∞ the argmax. A temperature is 1 / α.
        top_k: draws from the k most probable tokens only.
        top_p: draws from the smallest set of most probable tokens that together have this probability (the
            nucleus; Holtzman et al., 2020).
    """

    alpha: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise UserError(f"alpha: {self.alpha} is not above 0")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k: {self.top_k} is not at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p: {self.top_p} is not in (0, 1]")


GREEDY = Sampling(alpha=float("inf"))


def continue_prefix(model: nn.Module, tokenizer: Tokenizer, wanted: Prefix) -> str:
    """Return an entry of `evaluate_perplexity.prefixes` with what a model writes after it.

    Raises:
        UserError: the prefix holds no token.
    """
    alpha = float("inf") if wanted.alpha is None else wanted.alpha
    sampling = Sampling(alpha, wanted.top_k, wanted.top_p)
    generator = Generator().manual_seed(wanted.seed)
    return generate(model, tokenizer, [wanted.prefix], wanted.num_preds, sampling, generator)[0]


def sampled_distribution(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return what `choose` draws from, most probable token first.

    Args:
        logits: (batch, vocab).
        sampling: α first, then the k most probable, then the nucleus of what is left.

    Returns:
        Probabilities (batch, vocab), 0 for what is cut off, and the tokens (batch, vocab) they belong to.
    """
    # In float64 and relative to the most probable token, so that no α is too large.
    sharpened = (sampling.alpha * (logits - logits.amax(-1, keepdim=True)).double()).softmax(-1)
    P, tokens = sharpened.sort(stable=True, dim=-1, descending=True)
    if sampling.top_k is not None:
        P[:, sampling.top_k :] = 0
        P /= P.sum(-1, keepdim=True)
    if sampling.top_p is not None:
        P = P.where(P.cumsum(-1) - P < sampling.top_p, 0)  # the token that reaches top_p stays
        P /= P.sum(-1, keepdim=True)
    return P, tokens


def choose(logits: Tensor, sampling: Sampling, u: Tensor) -> Tensor:
    """Return the next token of each row.

    Args:
        logits: (batch, vocab).
        sampling: how.
        u: (batch,) uniform numbers in [0, 1), which the distribution function maps to tokens.

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
    # Scaled by the last sum, which rounding keeps from being 1, so that no token of probability 0 is drawn.
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
    """Continue several prefixes side by side: warm up over each, then feed every chosen token back.

    The state is carried, so a token costs one step however long the text is. What a row draws depends on the
    generator, its place and `num_preds`, not on the other rows.

    Args:
        model: a language model on the CPU.
        prefixes: indices, at least one each; they may differ in length.
        num_preds: tokens to generate for each.
        sampling: how each is chosen.
        generator: what is random; needed unless greedy.

    Returns:
        The tokens after each prefix.

    Raises:
        UserError: a prefix without a token, a negative `num_preds`, or sampling without a generator.
    """
    if num_preds < 0:
        raise UserError(f"num_preds: {num_preds} is negative")
    if not prefixes or num_preds == 0:
        return [[] for _ in prefixes]
    if not all(prefixes):
        raise UserError("a prefix holds no token")
    if sampling.alpha < float("inf") and generator is None:
        raise UserError("sampling needs a generator")
    model.eval()
    batch, lengths = len(prefixes), torch.tensor([len(prefix) for prefix in prefixes])
    u = torch.rand(batch, num_preds, generator=generator) if generator else torch.zeros(batch, num_preds)
    longest, shortest = int(lengths.max()), int(lengths.min())
    text = torch.zeros(batch, longest + num_preds, dtype=torch.int64)
    for row, prefix in zip(text, prefixes, strict=True):
        row[: len(prefix)] = torch.tensor(prefix)
    state: State = None
    begin, rows = 0, torch.arange(batch)
    # Rows whose prefix is over write while the others still read theirs.
    for end in range(shortest, longest + num_preds):
        logits, state = model(text[:, begin:end], state)
        written = (end - lengths).clamp(0, num_preds - 1)
        chosen = choose(logits[:, -1], sampling, u[rows, written])
        text[:, end] = torch.where(end < lengths, text[:, end], chosen)
        begin = end
    return [row[length : length + num_preds].tolist() for row, length in zip(text, lengths.tolist(), strict=True)]


def generate(
    model: nn.Module,
    tokenizer: Tokenizer,
    prefixes: Sequence[str],
    num_preds: int,
    sampling: Sampling = GREEDY,
    generator: Generator | None = None,
) -> list[str]:
    """Return each prefix with the tokens that a model writes after it.

    Characters or words of a prefix that the vocabulary does not have are read as `<unk>`, and written so.

    Args:
        model: a language model on the CPU.
        tokenizer: of the corpus that the model was trained on.
        prefixes: at least one token each.
        num_preds: tokens to generate for each.
        sampling: how each is chosen.
        generator: what is random; needed unless greedy.

    Raises:
        UserError: a prefix without a token, or sampling without a generator.
    """
    indices = [tokenizer.encode(prefix) for prefix in prefixes]
    if not all(indices):
        raise UserError(f"the prefix {prefixes[indices.index([])]!r} holds no token")
    continued = continue_sequences(model, indices, num_preds, sampling, generator)
    return [tokenizer.decode([*prefix, *rest]) for prefix, rest in zip(indices, continued, strict=True)]
