"""What can go wrong because of something a user gave us.

Every message is one line that names the field, what was wrong with it and what to do. The command line
prints the message alone and exits with status 2; in Python these are ordinary ``ValueError`` s.
"""

from collections.abc import Iterator


class BiFormerLitError(ValueError):
    """Base of all errors caused by what the user gave: catch this one to catch them all."""


class ConfigError(BiFormerLitError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(BiFormerLitError):
    """A data set, a column or an image that does not fit."""


class CheckpointError(BiFormerLitError):
    """A weights file that cannot be read, or does not belong to the model."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from or while handling, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
