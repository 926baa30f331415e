"""Names under which ideas can be plugged in, and where each of them comes from."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from biformer_lit.errors import ConfigError

T = TypeVar("T")
_PACKAGE = __name__.partition(".")[0]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_plugin: ContextVar[str | None] = ContextVar("plugin", default=None)


@dataclass(frozen=True)
class Entry(Generic[T]):
    """Registered value with its origin.

    Attributes:
        value: What was registered.
        plugin: Name of the plug-in that registered it; None for the package's own, and for what was registered outside
            a plug-in, as in a notebook.
        module: Module outside this package that registered it; None if it is the package's own.
    """

    value: T
    plugin: str | None
    module: str | None


class Registry(Mapping[str, T]):
    """Registered values by name: a mapping in the order of registration.

    Args:
        kind: What is registered, for messages, such as ``attention pattern``.
    """

    _all: ClassVar[list["Registry[Any]"]] = []

    # as an annotation's note it has to be hashable, so it is the one that it is, not what it holds
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}
        self._watchers: list[Callable[[], None]] = []
        self._all.append(self)

    @classmethod
    def count(cls) -> int:
        """Number of names in all registries."""
        return sum(map(len, cls._all))

    @classmethod
    def names(cls) -> tuple[tuple[str, ...], ...]:
        """All names, by registry."""
        return tuple(tuple(registry) for registry in cls._all)

    def register(self, name: str, value: T) -> None:
        """Put ``value`` under ``name``.

        Raises:
            ConfigError: If the name is taken, or is not lower-case letters, digits and underscores.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"{self.kind} {name!r}: is not a name that can be registered; use lower-case letters, digits and _"
            )
        if name in self._entries:
            by = self.plugin_of(name)
            whose = f" by the plug-in {by}" if by else ""
            raise ConfigError(f"{self.kind} {name!r}: is registered already{whose}; choose another name")
        self._replace({**self._entries, name: Entry(value, _plugin.get(), _module_outside())})

    def watch(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever other names can be chosen."""
        self._watchers.append(callback)

    def plugin_of(self, name: str) -> str | None:
        """Name of the plug-in that ``name`` comes from, None if it comes from none."""
        return self._entries[name].plugin

    def origin_of(self, name: str) -> str | None:
        """Name of the plug-in, or else of the module, that ``name`` comes from; None for the package's own."""
        entry = self._entries[name]
        return entry.plugin or entry.module

    @classmethod
    def names_from(cls, plugin: str) -> set[str]:
        """Return all names that a plug-in registered."""
        return {name for registry in cls._all for name in registry if registry.plugin_of(name) == plugin}

    @classmethod
    def named(cls, kind: str) -> "Registry[Any]":
        """Return the registry of a kind.

        Raises:
            KeyError: If there is none.
        """
        return {registry.kind: registry for registry in cls._all}[kind]

    @classmethod
    def has(cls, kind: str, name: str) -> bool:
        """Tell whether a registry of this kind has this name."""
        return any(registry.kind == kind and name in registry for registry in cls._all)

    def __getitem__(self, name: str) -> T:
        return self._entries[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def _forget(cls, plugin: str) -> None:
        for registry in cls._all:
            registry._replace({name: one for name, one in registry._entries.items() if one.plugin != plugin})  # noqa: SLF001

    def _replace(self, entries: dict[str, Entry[T]]) -> None:
        if entries.keys() != self._entries.keys():
            self._entries = entries
            for callback in self._watchers:
                callback()


def _module_outside() -> str | None:
    """Name of the module outside this package that is registering, if it is not the package that is being imported."""
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("importlib."):
            return None
        if module.partition(".")[0] != _PACKAGE:
            return module
        frame = frame.f_back
    return None


@contextmanager
def registering_for(plugin: str) -> Iterator[None]:
    """Note of what is registered meanwhile that it comes from this plug-in; an error takes it back."""
    token = _plugin.set(plugin)
    try:
        yield
    except BaseException:
        Registry._forget(plugin)  # noqa: SLF001
        raise
    finally:
        _plugin.reset(token)
