"""What people ask a trained model to write: the same on the command line and in the model server."""

import re
from collections.abc import Sequence

from torch import Generator

from timemachine.base.errors import UserError
from timemachine.language.generation.generate import GREEDY, Sampling, continue_sequences
from timemachine.language.models.trained import LanguageModel
from timemachine.text.clean import clean_whole

_MAX_TOP_K = 10**9


def clean_prefix(prefix: str) -> str:
    """Return a prefix as the training text is: lower case, each run of other than letters A-Z one space.

    Spaces at its ends stay, one each: a model reads `time` as a word that may go on, `time ` as one that is over.

    Raises:
        UserError: it holds no letter.
    """
    if not re.search("[A-Za-z]", prefix):
        raise UserError("the prefix is empty" if not prefix else "the prefix holds no letter A-Z")
    return clean_whole(prefix)


def sampling_of(
    temperature: float | None = None,
    alpha: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Sampling:
    """Return how to sample; without any argument greedily.

    Args:
        temperature: 1 / α; 0 is greedy. Left out, it is 1 where one of the others says to sample.
        alpha: in place of a temperature.
        top_k: the k most probable tokens only.
        top_p: the nucleus only.

    Raises:
        UserError: temperature and alpha are both given, or one of the four is out of its range.
    """
    if temperature is not None and alpha is not None:
        raise UserError("temperature and alpha: give one of them; a temperature is 1 / alpha")
    if temperature is not None:
        if not 0 <= temperature < float("inf"):
            raise UserError(f"temperature: {temperature} is not a number of at least 0")
        alpha = 1 / temperature if temperature else float("inf")
    elif alpha is None:
        alpha = GREEDY.alpha if top_k is None and top_p is None else 1.0
    if top_k is not None and top_k > _MAX_TOP_K:
        raise UserError(f"top_k: {top_k} is above {_MAX_TOP_K}")
    return Sampling(alpha, top_k, top_p)


def write(
    model: LanguageModel, prefixes: Sequence[str], num_preds: Sequence[int], sampling: Sampling, seed: int = 0
) -> list[str]:
    """Return each prefix, as the model reads it, with what the model writes after it, all in one batch.

    What the vocabulary does not have is read as `<unk>`, and written so.

    Args:
        model: who writes.
        prefixes: as people type them, at least one.
        num_preds: tokens to write after each, at least one.
        sampling: how each token is chosen.
        seed: of what is random. The same prefixes, lengths, sampling and seed give the same texts.

    Raises:
        UserError: a prefix holds no letter.
    """
    indices = [model.tokenizer.encode(clean_prefix(prefix)) for prefix in prefixes]
    generator = Generator().manual_seed(seed)
    continued = continue_sequences(model.module, indices, max(num_preds), sampling, generator)
    return [
        model.tokenizer.decode([*prefix, *rest[:wanted]])
        for prefix, rest, wanted in zip(indices, continued, num_preds, strict=True)
    ]
