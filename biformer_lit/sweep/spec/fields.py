"""Values from a file into typed fields: unknown names and wrong types are refused in words."""

import difflib
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from biformer_lit.errors import ConfigError

T = TypeVar("T")

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list"}
_WORDS[NoneType] = "null"


def check_known(where: str, names: Iterable[Any], known: Iterable[str]) -> None:
    """Refuse a name that is not among ``known``; the nearest one is proposed.

    Raises:
        ConfigError: Naming the place and the name.
    """
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            meant = f"did you mean {near[0]}?" if near else f"use {', '.join(known)}"
            raise ConfigError(f"{where}{name}: there is no such field; {meant}")


def mapping(where: str, value: Any) -> dict[str, Any]:
    """``value`` as a mapping whose keys are text; numbers as keys are written out.

    Raises:
        ConfigError: If it is none, or has a key of another kind.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {value!r} is not a mapping; write name: value lines")
    found: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str | int | float) or isinstance(key, bool):
            raise ConfigError(f"{where}: {key!r} is not text as a name; put it in quotes")
        found[str(key)] = item
    if len(found) != len(value):
        raise ConfigError(f"{where}: two names are the same once written out; rename one")
    return found


def typed(where: str, value: Any, hint: Any) -> Any:
    """``value``, which fits the type ``hint``.

    Raises:
        ConfigError: If it does not.
    """
    if not _fits(value, hint):
        raise ConfigError(f"{where}: {value!r} is not allowed; give {_described(hint)}")
    return value


def build(kind: type[T], where: str, values: Any) -> T:
    """A dataclass of checked values.

    Args:
        kind: The dataclass, whose annotations say what fits.
        where: Name of the group, for messages.
        values: Field to value.

    Raises:
        ConfigError: On an unknown or missing field, or a value of the wrong type.
    """
    given = mapping(where, values)
    hints = get_type_hints(kind)
    check_known(f"{where}.", given, hints)
    for name in hints:
        if name not in given and not hasattr(kind, name):
            raise ConfigError(f"{where}.{name}: is missing; give {_described(hints[name])}")
    return kind(**{name: typed(f"{where}.{name}", value, hints[name]) for name, value in given.items()})


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is UnionType:
        return any(_fits(value, member) for member in get_args(hint))
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if hint is float else hint)


def _described(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is UnionType:
        return " or ".join(_described(member) for member in get_args(hint))
    return _WORDS[hint]
