"""Checks of user input for generating text, for the command line and the model server."""

import math
import re

from timemachine.base.config import validate
from timemachine.base.errors import UserError
from timemachine.language.generation.config import Sampling
from timemachine.text.preparation.clean import clean_whole


def clean_prefix(prefix: str) -> str:
    """Return a prefix cleaned like the training text: lower case, each run of other characters one space.

    One space at each end is kept: after `time` a model may continue the word, after `time ` it starts a new one.

    Raises:
        UserError: the prefix has no letter A-Z.
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
    """Return the sampling that the arguments describe; without arguments it is greedy.

    Args:
        temperature: 1 / α; 0 is greedy. If both are None and `top_k` or `top_p` is given, it is 1.
        alpha: α, instead of a temperature.
        top_k: see `Sampling`.
        top_p: see `Sampling`.

    Raises:
        UserError: temperature and alpha are both given, or a value is out of range.
    """
    if temperature is not None and alpha is not None:
        raise UserError("temperature and alpha: give one of them; a temperature is 1 / alpha")
    if temperature is not None:
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature: {temperature} is not a number of at least 0")
        alpha = 1 / temperature if temperature else math.inf
    elif alpha is None:
        alpha = math.inf if top_k is None and top_p is None else 1.0
    return validate(Sampling, {"alpha": alpha, "top_k": top_k, "top_p": top_p}, "sampling")
