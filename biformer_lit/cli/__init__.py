"""The command line: LightningCLI for training and evaluation, and commands of our own."""

import contextlib
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ArgumentParser, auto_cli
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI

from biformer_lit.backbone.weights import convert_checkpoint
from biformer_lit.cli.reading import estimate, parse_fit, with_recipes
from biformer_lit.cli.training import SETTINGS, BiFormerCLI, OneLineErrors, fail
from biformer_lit.errors import BiFormerLitError
from biformer_lit.messages import one_line
from biformer_lit.profiling import complexity, measure_config, profile
from biformer_lit.routing.visualize import visualize
from biformer_lit.sweep.command import sweep

__all__ = ["main", "parse_fit", "run", "run_command"]


class CommandParser(OneLineErrors, ArgumentParser):
    """Parser of our own commands with errors for people."""


def convert(src: str, dst: str, copy: Literal["raw", "ema"] | None = None) -> None:
    """Rewrite a checkpoint as safetensors under this package's parameter names.

    Args:
        src: A released checkpoint of either layout, one of ours, or a state dict.
        dst: The .safetensors file to make; never overwritten.
        copy: raw or ema, where the file holds both; by default those that the file's figures belong to.
    """
    print(f"{dst}: {convert_checkpoint(src, dst, copy=copy)}")


def _of_function(function: Callable[..., None]) -> Callable[[list[str]], None]:
    return lambda args: _call(function, args, f"biformer_lit {function.__name__}")


def _sweep(args: list[str]) -> None:
    status = sweep(args, parse_fit, measure_config, estimate)
    if status:
        raise SystemExit(status)


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    **{function.__name__: _of_function(function) for function in (profile, complexity, convert, visualize)},
    "sweep": _sweep,
}


def main(args: list[str] | dict[str, Any] | None = None) -> LightningCLI | None:
    """Run a command, as ``python -m biformer_lit`` does.

    Args:
        args: The command line without the program's name, or a config as a dict, or None for ``sys.argv``.

    Returns:
        The CLI with its ``trainer``, ``model`` and ``datamodule``, or None for commands that train nothing.

    Raises:
        BiFormerLitError: On bad input that the parser cannot see.
        SystemExit: On a bad command line, with status 2.
    """
    given = sys.argv[1:] if args is None else args
    if isinstance(given, list):
        if given and given[0] in _COMMANDS:
            _COMMANDS[given[0]](given[1:])
            return None
        given = with_recipes(given)
    torch.set_float32_matmul_precision("high")
    # recipe names were put in for it, so the list differs from sys.argv on purpose
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended to run from within Python")
    warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec")  # Lightning's own affair with torch
    return BiFormerCLI(**SETTINGS, args=given)


def run() -> None:
    """Entry point of the command line: errors of the user's making are one line and exit status 2."""
    with _errors_in_one_line():
        main()


def run_command(command: Callable[..., None]) -> None:
    """Run a function as a script whose options are the function's arguments, with errors in one line."""
    with _errors_in_one_line():
        _call(command, sys.argv[1:], Path(sys.argv[0]).name)


def _call(command: Callable[..., None], args: list[str], prog: str) -> None:
    auto_cli(command, args=args, parser_class=CommandParser, prog=prog)


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = _users_error(error)
        if message is None:
            raise
        fail(one_line(message))


def _users_error(error: Exception) -> str | None:
    """What to tell the user if ``error`` is of the user's making; None for a defect, which needs its traceback."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path, and that it may be read or written"
    if isinstance(error, BiFormerLitError | MisconfigurationException | FileNotFoundError | yaml.YAMLError):
        return str(error)
    if isinstance(error, ValueError) and _raised_in(error).startswith("lightning."):
        return f"trainer: {error}"  # how Lightning refuses what it looks at only when the run starts
    return None


def _raised_in(error: Exception) -> str:
    """Name of the module whose code raised ``error``."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""
