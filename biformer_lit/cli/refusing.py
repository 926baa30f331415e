"""Errors of the command line: one line and exit status 2."""

import os
import sys
from typing import NoReturn

from biformer_lit.text.escaping import visible
from biformer_lit.text.messages import one_line


def fail(message: str) -> NoReturn:
    """Leave with one line and exit status 2."""
    sys.stderr.write(f"error: {visible(message)}\n")
    raise SystemExit(2)


def fail_at_once(message: str) -> NoReturn:
    """Leave like :func:`fail`, but without cleaning up, which needs what the machine has just refused."""
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    os._exit(2)


class OneLineErrors:
    """Parser mix-in: a bad argument or config gives one line and exit status 2, without usage and traceback."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message as one line and leave."""
        fail(one_line(message))
