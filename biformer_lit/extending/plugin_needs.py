"""The plug-ins that a network needs: noted in its checkpoint, and asked for where that decides the network."""

import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from biformer_lit.errors import CheckpointError
from biformer_lit.extending.plugin_loading import loaded_plugins
from biformer_lit.extending.plugin_source import Plugin, digest_of, source_files
from biformer_lit.registry import Registry
from biformer_lit.text.escaping import visible

_SCRIPT = "__main__"
_SHOWN = 100  # characters of what a file says


@dataclass(frozen=True)
class NeededPlugin:
    """A plug-in that a network is made with, as a checkpoint names it.

    Attributes:
        name: The module that it is.
        digest: SHA-256 of its source, in hexadecimal digits; empty if it had none.
        label: What ``--plugin`` takes: the name of its file, or the module.
        uses: What it registered and the network uses: pairs of the kind and the name.
    """

    name: str
    digest: str
    label: str = ""
    uses: tuple[tuple[str, str], ...] = ()


def needed_plugins(used: Iterable[tuple[Registry[Any], str]]) -> list[dict[str, Any]]:
    """List the plug-ins that registered names come from, as plain values for a checkpoint.

    Args:
        used: Registries, each with a name in it that a network uses.
    """
    found: dict[str, list[list[str]]] = {}
    for registry, name in used:
        module = registry.origin_of(name) if name in registry else None
        if module is not None:
            found.setdefault(module, []).append([registry.kind, name])
    needed = []
    for module, uses in found.items():
        plugin = _plugin(module)
        needed.append({"name": module, "digest": plugin.digest, "label": plugin.label, "uses": uses})
    return needed


def read_needed(entries: Mapping[str, Any], source: str) -> tuple[NeededPlugin, ...]:
    """Return the plug-ins that the entries of a checkpoint name, which may come from anybody.

    Raises:
        CheckpointError: If they are none.
    """
    listed = entries.get("plugins")
    if not isinstance(listed, list | tuple | Mapping | str):  # a parameter may be called so
        return ()
    return tuple(_needed(one, source) for one in (listed if isinstance(listed, list | tuple) else [listed]))


def _needed(entry: Any, source: str) -> NeededPlugin:
    said = entry if isinstance(entry, Mapping) else {}
    name, digest, label = said.get("name"), said.get("digest", ""), said.get("label", "")
    if not isinstance(name, str) or not isinstance(digest, str) or not isinstance(label, str):
        raise CheckpointError(f"{source}: its plugins are no list of names and digests; save it again")
    uses = said.get("uses")
    pairs = [pair for pair in uses if isinstance(pair, list | tuple)] if isinstance(uses, list | tuple) else []
    return NeededPlugin(name, digest, label, tuple((str(pair[0]), str(pair[1])) for pair in pairs if len(pair) == 2))


def require_plugins(needed: Iterable[NeededPlugin], where: str) -> None:
    """Refuse a network some of whose parts are not registered; other source than it was trained with is warned of.

    Args:
        needed: The plug-ins that it was made with.
        where: How messages about its file begin.

    Raises:
        CheckpointError: With the plug-in to give.
    """
    needed = list(needed)
    if missing := told_missing(needed):
        raise CheckpointError(f"{where}needs {missing}")
    for plugin in needed:
        modules = {Registry.named(kind).origin_of(name) for kind, name in plugin.uses} - {None}
        for now in (_plugin(str(module)) for module in modules or {plugin.name}):
            if now.digest and plugin.digest and now.digest != plugin.digest:
                warnings.warn(
                    f"{where}was made with other source of the plug-in {_label(plugin)} (SHA-256 "
                    f"{visible(plugin.digest[:12])}..., now {now.digest[:12]}...); what that computes in another way "
                    "changes its figures",
                    stacklevel=3,
                )


def told_missing(needed: Iterable[NeededPlugin]) -> str:
    """Say what of plug-ins is not registered, and what to do about it; empty if all is there."""
    for plugin in needed:
        missing = [(kind, name) for kind, name in plugin.uses if not Registry.has(kind, name)]
        if not missing and (plugin.uses or plugin.name in loaded_plugins()):
            continue
        parts = ", ".join(f"{visible(kind, _SHOWN)} {visible(name, _SHOWN)!r}" for kind, name in missing)
        what = f" for {parts}" if parts else ""
        if plugin.name == _SCRIPT:
            return (
                f"what a script or notebook registered{what}: register it before loading, or put it into a file of its "
                "own and give --plugin FILE"
            )
        label = _label(plugin)
        return f"the plug-in {label}{what}: give --plugin {label}, or in Python call biformer_lit.load_plugin"
    return ""


def _label(plugin: NeededPlugin) -> str:
    return visible(plugin.label or plugin.name, _SHOWN)


def _plugin(module: str) -> Plugin:
    """A plug-in that was loaded, or what is known of a module that registered without being loaded as one."""
    if (known := loaded_plugins().get(module)) is not None:
        return known
    files = {} if module == _SCRIPT or module not in sys.modules else source_files(sys.modules[module])
    single = len(files) == 1 and "/" not in next(iter(files))
    label = next(iter(files)) if single else module
    return Plugin(module, label, files, digest_of(files) if files else "")
