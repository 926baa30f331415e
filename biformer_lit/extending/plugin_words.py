"""``--plugin`` on a command line, which is the only place that it is taken from."""

from collections.abc import Sequence
from typing import NamedTuple

from biformer_lit.errors import ConfigError
from biformer_lit.extending.plugin_loading import given_plugins, load_plugin

WORD = "--plugin"
HELP = (
    "Python file or module of yours that registers attention patterns, routing rules, tasks, data sets or transforms; "
    "its code is run, and what it registers stands in --help; as often as you like"
)
EPILOG = f"{WORD} FILE.py, {WORD} PACKAGE.MODULE: {HELP}."
"""The same for a parser that does not know the word, which is taken from the command line before it is made."""
REFUSAL = f"plugin: code is run at the word of the person at the keyboard only; give {WORD} on the command line instead"
"""What is said of ``plugin`` in a config or a study."""


class Words(NamedTuple):
    """A command line that was taken apart.

    Attributes:
        plugins: What ``--plugin`` was given, in order.
        rest: The other words.
    """

    plugins: list[str]
    rest: list[str]


def take_words(args: Sequence[str]) -> Words:
    """Take ``--plugin X`` and ``--plugin=X`` out of a command line, wherever they stand.

    Raises:
        ConfigError: If one has no value.
    """
    taken = Words([], [])
    words = iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if name != WORD:
            taken.rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value or value.startswith("-"):
            raise ConfigError(f"{WORD} needs a value; give a Python file or the import path of a module")
        taken.plugins.append(value)
    return taken


def load_words(args: Sequence[str]) -> list[str]:
    """Load the plug-ins that a command line names.

    Returns:
        The command line without them.

    Raises:
        ConfigError: If one cannot be loaded.
    """
    plugins, rest = take_words(args)
    for plugin in plugins:
        load_plugin(plugin)
    return rest


def repeated_words() -> list[str]:
    """Words that have another command line load what this process was given."""
    return [word for plugin in given_plugins() for word in (WORD, plugin.argument)]
