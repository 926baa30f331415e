"""Options of ``torch.compile`` that a file may set, a closed list; all others have to be typed.

Inductor's options name the compiler that it runs and folders that it writes to, and dynamo imports a backend by its
name. A config, a study or a recipe may come from anyone; the command line is the user's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from biformer_lit.errors import ConfigError
from biformer_lit.text.dotted import flat, plain_key

_KEY = "model.compile"
_BOOLEAN = (True, False, None)
FROM_FILES: Final[dict[str, tuple[Any, ...]]] = {
    f"{_KEY}.fullgraph": _BOOLEAN,
    f"{_KEY}.dynamic": _BOOLEAN,
    f"{_KEY}.disable": _BOOLEAN,
    f"{_KEY}.mode": (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    f"{_KEY}.backend": ("inductor", "eager", "aot_eager", "cudagraphs"),
    f"{_KEY}.options": (None,),
}
"""Arguments of ``torch.compile`` that may stand in a file, with the values that they may have there."""


def check_compile(settings: Any, args: Sequence[str]) -> None:
    """Refuse what is neither in the list nor typed.

    Args:
        settings: ``compile`` of the parsed config.
        args: The command line that it was parsed from, as far as a person typed it.

    Raises:
        ConfigError: With the setting, and how to give it.
    """
    if not isinstance(settings, Mapping):  # on, off or dynamic, which the parser has checked
        return
    typed = dict(_typed(args))
    for key, value in flat({_KEY: settings}).items():
        listed = any(type(value) is type(one) and value == one for one in FROM_FILES.get(key, ()))  # 1 is not true
        if not listed and not (key in typed and typed[key] == value):
            name = key.removeprefix("model.")
            allowed = ", ".join(_readable(one) for one in FROM_FILES.get(key, ()))
            raise ConfigError(
                f"{name}: {value!r} is not taken from a file"
                + (f", which may say {allowed}" if allowed else ", for it may name programs and folders")
                + "; to use it, type it: --model.compile '{...}'"
            )


def _typed(args: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Settings of ``compile`` with the values that they are given on a command line, by plain dotted keys."""
    for position, arg in enumerate(args):
        if not arg.startswith("--model"):
            continue
        option, equals, value = arg.removeprefix("--").partition("=")
        if not equals:
            value = args[position + 1] if position + 1 < len(args) else ""
        try:
            content = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        if not isinstance(content, Mapping) and plain_key(option) in ("model", _KEY):
            continue  # the name of a class, or of a file
        yield from ((key, one) for key, one in flat({option: content}).items() if key.startswith(_KEY))


def _readable(value: Any) -> str:
    return {True: "true", False: "false", None: "null"}.get(value, str(value))
