"""Errors that are caused by input of the user.

Every message is one line that names the field, what was wrong with it and what to do. The command line
prints the message alone and exits with status 2; in Python these are ordinary ``ValueError`` s.
"""

import errno
import re
from collections.abc import Iterator

from biformer_lit.text.escaping import visible

DISK_FULL = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
"""Messages of a full disk, of the system and of libraries."""
# how gloo and NCCL say that another process does not answer; by name, for torch need not have been imported
_CONNECTION_ERRORS = ("DistBackendError", "DistNetworkError", "DistStoreError")
_CONNECTION_TEXT = re.compile(r"gloo[/:\]]|\bNCCL\b|caused pair closure", re.IGNORECASE)


class BiFormerLitError(ValueError):
    """Base of all errors caused by what the user gave: catch this one to catch them all.

    Args:
        message: What it says; line breaks and control characters, as names of columns may hold them, are made visible.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(visible(message))


class ConfigError(BiFormerLitError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(BiFormerLitError):
    """A data set, a column or an image that does not fit."""


class CheckpointError(BiFormerLitError):
    """A weights file that cannot be read, or does not belong to the model."""


class DivergenceError(BiFormerLitError):
    """A loss, a gradient or the objective that is no longer a number."""


class MemoryShortageError(BiFormerLitError):
    """Not enough memory for what is to be computed."""


class DiskFullError(BiFormerLitError):
    """No room for what is to be written."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error means a full disk, an exhausted quota or a limit on file sizes."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, DiskFullError) or bool(DISK_FULL.search(str(error)))


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from or while handling, and so on."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:  # an error that was raised again and again comes from itself
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def lost_contact(error: BaseException) -> bool:
    """Return whether an error only says that another process of the run has ended or does not answer."""
    return any(
        type(cause).__name__ in _CONNECTION_ERRORS
        or (isinstance(cause, RuntimeError) and _CONNECTION_TEXT.search(str(cause)) is not None)
        for cause in causes(error)
    )
