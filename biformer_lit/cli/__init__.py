"""The command line: LightningCLI for training and evaluation, and commands of our own.

What a command needs is imported when it is called: importing PyTorch takes longer than looking how a study stands.
"""

import contextlib
import importlib.util
import os
import pickle
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from biformer_lit.cli.limits import limit_reached, raise_file_limit
from biformer_lit.cli.refusing import fail, fail_at_once
from biformer_lit.cli.streams import lasting_streams, plain_messages
from biformer_lit.errors import BiFormerLitError, ConfigError, lost_contact
from biformer_lit.extending import load_installed, load_plugin, take_words
from biformer_lit.extending.plugin_words import REFUSAL, WORD
from biformer_lit.text.messages import COMMANDS, one_line

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningCLI

__all__ = ["main", "parse_fit", "run", "run_command"]

_SOURCE = re.compile(r"\[\S+\.cc:\d+\] ")  # where in gloo's source a connection was found broken
_WORKER = re.compile(r"DataLoader worker.*?(killed by signal: [\w ]+|exited unexpectedly)")  # of torch, and of ours
_PATIENCE = 10.0  # seconds that a process waits to be ended by those who know why another one is gone


def parse_fit(args: list[str]) -> dict[str, Any]:
    """The complete config that ``python -m biformer_lit fit ARGS`` would run, as plain values; nothing is run.

    Args:
        args: The command line after ``fit``.

    Raises:
        ConfigError: On a bad argument or config.
    """
    from biformer_lit.cli.reading import complete_config  # noqa: PLC0415

    return complete_config(args)


def main(args: list[str] | dict[str, Any] | None = None) -> "LightningCLI | None":
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
        given = _with_plugins(given)
    elif any("plugin" in part for part in (given, *given.values()) if isinstance(part, dict)):
        raise ConfigError(REFUSAL)
    if not isinstance(given, list) or not given or given[0] not in COMMANDS:
        return _train(given)
    if given[0] == "sweep":
        _sweep(given[1:])
    else:
        from biformer_lit.cli.functions import FUNCTIONS, call  # noqa: PLC0415

        call(FUNCTIONS[given[0]], given[1:], f"biformer_lit {given[0]}")
    return None


def _with_plugins(args: list[str]) -> list[str]:
    """Load the plug-ins that a command line names, and installed ones; what is left of it.

    They come before the parser, so that what they register stands in ``--help`` and is checked like the rest.
    """
    words = take_words(args)
    if words.rest[:1] == ["sweep"] and words.rest[1:2] != ["run"]:
        if words.plugins:
            raise ConfigError(f"{WORD}: only sweep run needs plug-ins; leave it out")
        return words.rest
    load_installed()
    for plugin in words.plugins:
        load_plugin(plugin)
    return words.rest


def _sweep(args: list[str]) -> None:
    if importlib.util.find_spec("fcntl") is None:
        raise ConfigError("sweep needs a POSIX system (Linux, macOS, WSL): its trials share locked files")
    from biformer_lit.cli.study_runs import TrainingRuns  # noqa: PLC0415
    from biformer_lit.sweep.command import sweep  # noqa: PLC0415

    status = sweep(args, TrainingRuns())
    if status:
        raise SystemExit(status)


def _train(given: list[str] | dict[str, Any]) -> "LightningCLI":
    import torch  # noqa: PLC0415

    from biformer_lit.cli.reading import spelled_out  # noqa: PLC0415
    from biformer_lit.cli.training import SETTINGS, command_line_of  # noqa: PLC0415

    if isinstance(given, list):
        given = spelled_out(given)
    torch.set_float32_matmul_precision("high")
    # recipe names were put in for it, so the list differs from sys.argv on purpose
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended to run from within Python")
    warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec")  # between Lightning and torch
    return command_line_of(given)(**SETTINGS, args=given)


def run() -> None:
    """Entry point of the command line: errors of the user's making are one line and exit status 2."""
    with lasting_streams(), plain_messages(), _errors_in_one_line():
        main()


def run_command(command: Callable[..., None]) -> None:
    """Run a function as a script whose options are the function's arguments, with errors in one line."""
    from biformer_lit.cli.functions import call  # noqa: PLC0415

    with lasting_streams(), plain_messages(), _errors_in_one_line():
        call(command, sys.argv[1:], Path(sys.argv[0]).name)


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    raise_file_limit()
    usual = sys.excepthook
    # a thread of multiprocessing's tells of it, too, and what the main one says is enough
    sys.excepthook = lambda kind, error, trace: None if limit_reached(error) else usual(kind, error, trace)
    try:
        yield
    except Exception as error:
        if (limit := limit_reached(error)) is not None:
            fail_at_once(limit)
        message = _users_error(error) or _spawned_error(error)
        if message is not None:
            fail(one_line(message))
        if isinstance(error, RuntimeError) and (said := _WORKER.search(str(error))):
            sys.stderr.write(
                f"error: {one_line(said[0])}; the system may have been out of memory, or of shared memory (/dev/shm): "
                "fewer data.init_args.num_workers need less, and 0 needs none\n"
            )
            raise SystemExit(1) from error  # not 2: it may go better another time
        if lost_contact(error):
            _wait_for_the_reason(error)
        raise
    finally:
        sys.excepthook = usual


def _wait_for_the_reason(error: Exception) -> NoReturn:
    """End a process that has only lost the others, after those that know the cause had time to report it and end us."""
    time.sleep(_PATIENCE)
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK", "0")
    sys.stderr.write(
        f"error: process {rank} of the run has lost contact with another one, whose message, if there is any, stands "
        f"above ({one_line(_SOURCE.sub('', str(error)))})\n"
    )
    raise SystemExit(1)


def _spawned_error(error: Exception) -> str | None:
    """Return the message for a user's error that one of the processes started by ``ddp_spawn`` has met, or None."""
    if type(error).__name__ != "ProcessRaisedException":  # holds the other process's traceback as text
        return None
    kind, _, message = str(error).rstrip().rpartition("\n")[2].partition(": ")
    return message if kind.startswith("biformer_lit.errors.") else None


def _users_error(error: Exception) -> str | None:
    """Return the message for an error caused by the user; None for a defect, which needs its traceback."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path, and that it may be read or written"
    if isinstance(error, BiFormerLitError | FileNotFoundError | yaml.YAMLError):
        return str(error)
    # by name: without Lightning, and torch.compile, they cannot have been raised
    if type(error).__name__ in ("MisconfigurationException", "InvalidBackend"):
        return str(error)
    if isinstance(error, pickle.UnpicklingError):  # of one that Lightning finds by itself: last, hpc
        return (
            "the checkpoint holds something else than tensors and plain data, or is damaged; load only files you trust"
        )
    # how Lightning refuses what it looks at only when it builds the trainer or the run starts
    if isinstance(error, ValueError | RuntimeError | ModuleNotFoundError) and _raised_in(error).startswith(
        "lightning."
    ):
        return f"trainer: {error}"
    return None


def _raised_in(error: Exception) -> str:
    """Name of the module whose code raised ``error``."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""
