"""Errors that a user can cause."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """An error that the user of a command can correct: a wrong value, a missing or damaged file, bad data.

    The message is one line that names the file or the key and says what is allowed. Commands print it without a
    traceback. An exception of another class is a bug of this package and shows its traceback.
    """


@contextmanager
def about(what: str) -> Iterator[None]:
    """Prefix the message of a `UserError` that the block raises with `what`.

    Args:
        what: the file or key that the block works on.
    """
    try:
        yield
    except UserError as error:
        error.args = (f"{what}: {error}",)
        raise
