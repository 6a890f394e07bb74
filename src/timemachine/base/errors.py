"""The error that a user can mend."""


class UserError(ValueError):
    """An input, a file or a setting is wrong; the message is one line that names it and says what is right."""
