"""Errors that a user can cause, and what is in front of their messages."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something that the user of a command can put right: a wrong value, a missing or damaged file, bad data.

    The message is one plain sentence that names the file or the key and says what would be right. Commands print
    it without a traceback. Every other exception is a bug of this package and shows its traceback.
    """


@contextmanager
def about(what: str) -> Iterator[None]:
    """Put `what` in front of the message of a `UserError` that the block raises; its type and notes stay.

    Args:
        what: the file or key that the block works on.
    """
    try:
        yield
    except UserError as error:
        error.args = (f"{what}: {error}",)
        raise
