"""Names that become folders, and dotted keys of settings with their values."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from biformer_lit.errors import ConfigError
from biformer_lit.text.dotted import plain_key

_NAME = re.compile(r"[A-Za-z0-9+-][A-Za-z0-9 ._+-]*")
_LONGEST = 60
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\+?")
# what a study or a trial sets itself, and what to say instead
_RESERVED = {
    "seed_everything": "give the seeds in seeds",
    "trainer.logger": "each trial logs into its own folder",
    "trainer.default_root_dir": "each trial has its own folder",
    "trainer.enable_progress_bar": "trials write to a file",
    "ckpt_path": "trials resume from their own checkpoints; to start from weights set model.weights",
    "config": "give config files in base",
    "plugin": "code is run at the word of the person at the keyboard only: give --plugin on the command line",
}


def check_name(where: str, name: str) -> None:
    """Refuse a name that cannot be part of a folder's name.

    Raises:
        ConfigError: Naming the place.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or name != name.strip():
        raise ConfigError(
            f"{where}: {name!r} cannot be used in the name of a folder; use at most {_LONGEST} letters, digits, "
            "spaces, dots, +, - and _, beginning with a letter or digit"
        )


def check_names(where: str, names: Iterable[str]) -> None:
    """Refuse names that cannot be used, or that only capitals and spaces tell apart.

    Raises:
        ConfigError: Naming the place.
    """
    taken: dict[str, str] = {}
    for name in names:
        check_name(where, name)
        other = taken.setdefault(slug(name), name)
        if other != name:
            raise ConfigError(f"{where}: {other!r} and {name!r} would share a folder; rename one")


def slug(name: str) -> str:
    """The name in lower case and without spaces, as folders are named."""
    return "-".join(name.lower().split())


def label_of(value: Any) -> str:
    """A label for a value: 1-4-16-all for [1, 4, 16, all], 2x4 for a pair within a list."""
    if isinstance(value, list | tuple):
        return "-".join("x".join(map(label_of, item)) if isinstance(item, list) else label_of(item) for item in value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def check_settings(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that could not be typed as ``--key=value``, or that belong to the study.

    Args:
        where: The place, for messages.
        settings: Dotted key to value.

    Raises:
        ConfigError: Naming the place and the key.
    """
    seen: dict[str, str] = {}
    for key, value in settings.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(f"{where}: {key!r} is not a setting; give a dotted key such as model.backbone.topk")
        plain = plain_key(key)
        for reserved, remedy in _RESERVED.items():
            if plain == reserved or plain.startswith(f"{reserved}."):
                raise ConfigError(f"{where}: {key} cannot be set in a study; {remedy}")
        if seen.setdefault(plain, key) != key:
            raise ConfigError(f"{where}: {seen[plain]} and {key} are the same setting; remove one")
        if isinstance(value, dict):
            raise ConfigError(f"{where}: {key} is a mapping; write its entries with dotted keys, {key}.NAME: value")
        _check_value(f"{where}: {key}", value)


def _check_value(where: str, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check_value(where, item)
    elif isinstance(value, dict):
        for item in value.values():
            _check_value(where, item)
    elif not (value is None or isinstance(value, str | int | float)):
        raise ConfigError(f"{where}: {value!r} is a {type(value).__name__}; put it in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {value} is not a finite number; give one")
