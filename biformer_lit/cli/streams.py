"""Standard output and error that a run can always write to, and what is written there as plain text."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from biformer_lit.errors import is_disk_full
from biformer_lit.text.escaping import visible

_CLOSED = 141  # exit status, as a shell reports a process that SIGPIPE has ended
_FULL = 2


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Write characters that the terminal's encoding lacks as escapes, and end quietly where nobody reads on.

    A run must not fail after hours of training because a table has a line or a name that ASCII has not, and a reader
    such as ``head`` that has enough is no error.

    Raises:
        SystemExit: If standard output is closed (status 141), or nothing can be written to it (status 2).
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if _writable(sys.stdout):  # another process's, as between the ranks of a run
            raise
        _drop(sys.stdout)
        raise SystemExit(_CLOSED) from None
    except OSError as error:
        if error.filename is not None or not is_disk_full(error) or _writable(sys.stdout):
            raise
        _drop(sys.stdout)
        sys.stderr.write(f"error: standard output: {error.strerror}; write it elsewhere\n")
        raise SystemExit(_FULL) from None


class _PlainRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 (logging's name)
        return _plain_lines(super().getMessage())


def _plain_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


@contextlib.contextmanager
def plain_messages() -> Iterator[None]:
    """Remove control characters from log lines and warnings, which may quote names of classes, columns and files."""
    factory, formatted = logging.getLogRecordFactory(), warnings.formatwarning
    logging.setLogRecordFactory(_PlainRecord)
    warnings.formatwarning = lambda *args, **kwargs: _plain_lines(formatted(*args, **kwargs))
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)
        warnings.formatwarning = formatted


def _writable(stream: Any) -> bool:
    """Return whether a line can be written, as errors do not say which file they are of."""
    try:
        stream.write("\n")
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _drop(stream: Any) -> None:
    """Discard what is left, because Python would try again to write it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
