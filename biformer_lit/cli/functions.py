"""Commands that are functions: their arguments are the options, their docstrings the help."""

from collections.abc import Callable

from jsonargparse import ArgumentParser, auto_cli

from biformer_lit.checkpoints.conversion import convert_checkpoint
from biformer_lit.checkpoints.saved_weights import Copy
from biformer_lit.cli.refusing import OneLineErrors
from biformer_lit.extending.plugin_words import EPILOG
from biformer_lit.profiling import complexity, profile
from biformer_lit.routing.visualize import visualize


class CommandParser(OneLineErrors, ArgumentParser):
    """Parser of our own commands with errors for people."""


def convert(src: str, dst: str, copy: Copy | None = None) -> None:
    """Rewrite a checkpoint as safetensors under this package's parameter names.

    Args:
        src: A released checkpoint of either layout, one of ours, or a state dict.
        dst: The .safetensors file to make; never overwritten.
        copy: raw or average, where the file holds both; by default those that the file's figures belong to.
    """
    print(f"{dst}: {convert_checkpoint(src, dst, copy=copy)}")


FUNCTIONS: dict[str, Callable[..., None]] = {
    function.__name__: function for function in (profile, complexity, convert, visualize)
}


def call(command: Callable[..., None], args: list[str], prog: str) -> None:
    """Call a function with what a command line says."""
    auto_cli(command, args=args, parser_class=CommandParser, prog=prog, epilog=EPILOG)
