"""Generation of one text token by token, with the probability of each token."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from timemachine.language.generation.config import Sampling
from timemachine.language.generation.decoding import choose_tokens
from timemachine.language.models.trained import LanguageModel
from timemachine.training.state import State

# Number of the most probable tokens that are reported with each token.
NUM_LIKELY = 5


class Written(NamedTuple):
    """A generated token.

    Attributes:
        text: the text that it adds; a word begins with a space.
        probability: P(token | all tokens before it) of the model, before temperature, top_k and top_p.
        likely: the most probable tokens and their probabilities, the most probable first.
    """

    text: str
    probability: float
    likely: list[tuple[str, float]]


def read_back(model: LanguageModel, prefix: str) -> str:
    """Return a prefix as the model reads it: what the vocabulary does not have is `<unk>`."""
    return model.tokenizer.decode(model.tokenizer.encode(prefix))


def write(model: LanguageModel, prefix: str, num_preds: int, sampling: Sampling, seed: int) -> Iterator[Written]:
    """Yield the tokens that `continue_texts` writes after the same prefix alone, as they are generated.

    Each token is computed when it is asked for, in the thread that asks for it.

    Args:
        model: the language model.
        prefix: a text of at least one token.
        num_preds: number of tokens.
        sampling: how each token is chosen.
        seed: seed of the random generator.
    """
    tokenizer, separator = model.tokenizer, "" if model.tokenizer.level == "char" else " "
    u = torch.rand(1, num_preds, generator=Generator().manual_seed(seed))
    unread: Tensor = torch.tensor([tokenizer.encode(prefix)])  # (1, num_tokens)
    state: State = None
    model.module.eval()
    for step in range(num_preds):
        # The mode belongs to a thread, so it may not be open at `yield`.
        with torch.inference_mode():
            logits, state = model.module(unread, state)
            chosen = choose_tokens(logits[:, -1], sampling, u[:, step])  # (1,)
            P = logits[0, -1].softmax(-1)  # (vocab,)
            values, tokens = P.topk(min(NUM_LIKELY, len(P)))
            probability, unread = float(P[chosen]), chosen[:, None]
        likely = zip(tokenizer.vocabulary.to_tokens(tokens.tolist()), map(_short, values.tolist()), strict=True)
        yield Written(separator + tokenizer.decode(chosen.tolist()), _short(probability), list(likely))


def _short(probability: float) -> float:
    """Return a float32 without digits that it does not have."""
    return float(f"{probability:.6g}")
