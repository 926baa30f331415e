"""Command that started this process, and how to start another one in the same way."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = "biformer_lit"
_SCRIPT = "biformer-lit"  # the entry point that pip makes
_WITH_VALUE = "WX"  # the interpreter's options that are followed by a value; -m and -c end them


def is_command_line(interpreter: Sequence[str] | None = None, argv: Sequence[str] | None = None) -> bool:
    """Return whether this process is the command line, ``python -m biformer_lit`` or ``biformer-lit``.

    Args:
        interpreter: The complete command line of the interpreter; None takes ``sys.orig_argv``. While the module to run
            is looked for, ``sys.argv`` does not tell which.
        argv: The program's; None takes ``sys.argv``.
    """
    return _module(sys.orig_argv if interpreter is None else interpreter) == _PACKAGE or _is_script(
        sys.argv if argv is None else argv
    )


def is_spawned(interpreter: Sequence[str] | None = None, argv: Sequence[str] | None = None) -> bool:
    """Return whether ``multiprocessing`` has started this process for the command line, whose words it has.

    A process that was forked has all that its parent has, and needs no such question.

    Args:
        interpreter: The complete command line of the interpreter; None takes ``sys.orig_argv``.
        argv: The program's, which ``multiprocessing`` sets to the parent's; None takes ``sys.argv``.
    """
    interpreter = sys.orig_argv if interpreter is None else interpreter
    argv = sys.argv if argv is None else argv
    spawned = any(argument.startswith("from multiprocessing") for argument in interpreter)  # python -c ...
    own = bool(argv) and Path(argv[0]) == Path(__file__).parents[1] / "__main__.py"
    return spawned and (own or _is_script(argv))


def own_command() -> list[str]:
    """The beginning of a command line that runs this package as this process runs it.

    ``python -m`` looks for modules in the working folder first, callbacks of the user's among them; the entry point and
    ``python -P`` do not, and what lies there must not run in place of what is installed.
    """
    if _is_script(sys.argv):
        return [sys.executable, str(Path(sys.argv[0]).absolute())]
    safe = ["-P"] if getattr(sys.flags, "safe_path", False) else []  # since Python 3.11
    return [sys.executable, *safe, "-m", _PACKAGE]


def keep_safe_path() -> None:
    """Have processes that others start from here look for modules where this one does, if that is not the folder."""
    if getattr(sys.flags, "safe_path", False):
        os.environ["PYTHONSAFEPATH"] = "1"


def _is_script(argv: Sequence[str]) -> bool:
    return bool(argv) and Path(argv[0]).stem == _SCRIPT


def _module(interpreter: Sequence[str]) -> str | None:
    """The module after ``-m`` in a command line of the interpreter, None if it runs something else."""
    arguments = iter(interpreter[1:])
    for argument in arguments:
        if not argument.startswith("-") or argument in ("-", "--"):
            return None
        if argument.startswith("--"):  # --check-hash-based-pycs MODE, which stands alone
            next(arguments, None)
            continue
        for place, letter in enumerate(argument[1:], 2):
            if letter == "m":
                return argument[place:] or next(arguments, None)
            if letter == "c":
                return None
            if letter in _WITH_VALUE:
                if not argument[place:]:
                    next(arguments, None)
                break
    return None
