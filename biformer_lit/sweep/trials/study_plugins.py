"""The plug-ins that a study is trained with: noted with their digests, asked for again, and kept for the report.

Their source is kept as text in one JSON file, which nothing runs. Code comes from ``--plugin`` alone.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biformer_lit.common.files import write_text
from biformer_lit.errors import ConfigError
from biformer_lit.extending import Plugin, current_digest, given_plugins, loaded_plugins
from biformer_lit.registry import Registry
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.text.escaping import visible

PLUGINS = "plugins.json"
"""File of a study's folder with its plug-ins and their source."""
_NOTED = "plugins"
_TEXTS = ("name", "label", "digest")
_MOST_SOURCE = 4 * 2**20  # bytes of a plug-in that are kept for the report


@dataclass(frozen=True)
class StudyPlugin:
    """A plug-in as a study's record has it.

    Attributes:
        name: Import path of its module.
        label: The name of its file, or its module; of an installed one its package with the version.
        digest: SHA-256 of its source, 64 hex digits.
        source: Path to text; empty where it was too long to be kept.
        installed: Whether it came with an installed package, which needs no ``--plugin``.
    """

    name: str
    label: str
    digest: str
    source: Mapping[str, str]
    installed: bool = False

    @property
    def shown(self) -> dict[str, str]:
        """The source as it may be shown: control characters, and such as turn the direction of a line, spelled out."""
        return {
            visible(path): "\n".join(visible(line) for line in text.expandtabs(4).splitlines())
            for path, text in self.source.items()
        }


def check_plugins(study: str, folder: Path, ledger: Ledger | None = None) -> None:
    """Refuse to go on with a study without the plug-ins that it was begun with, or with other source of theirs.

    Args:
        study: Its name.
        folder: Its folder.
        ledger: Its trials; None where only the folder is looked at.

    Raises:
        ConfigError: With what to give.
    """
    loaded = loaded_plugins()
    kept = "its source stands in the report"
    for noted in _noted(folder, ledger):
        plugin, label = loaded.get(noted.name), visible(noted.label, 100)
        if plugin is None:
            remedy = f"install {label}" if noted.installed else f"give --plugin {label}"
            raise ConfigError(
                f"study {study} needs the plug-in {label}: {remedy} (SHA-256 {noted.digest[:12]}...; {kept})"
            )
        if plugin.digest != noted.digest:
            remedy = f"install {label} again" if noted.installed else "give it as it was"
            raise ConfigError(
                f"study {study} was begun with other source of the plug-in {label} (SHA-256 {noted.digest[:12]}..., "
                f"now {plugin.digest[:12]}...), so that results would not be comparable: {remedy} ({kept}), or begin a "
                "new study with --name NEW"
            )


def note_plugins(study: str, folder: Path, ledger: Ledger, settings: Any = None) -> None:
    """Note a study's plug-ins, in its record and, with their source, in its folder.

    They are those that were given, and those of installed packages that ``settings`` name something of.

    Args:
        study: Its name.
        folder: Its folder.
        ledger: Its trials.
        settings: Its settings, as nested values.
    """
    known = {plugin.name: plugin for plugin in _noted(folder, ledger)}
    used = {plugin.name: _with_source(plugin) for plugin in (*given_plugins(), *_installed(set(_texts(settings))))}
    if not used and not known:
        return
    ledger.note(_NOTED, json.dumps([{**vars(one), "source": None} for one in (used | known).values()]))
    kept = {plugin.name: plugin for plugin in read_plugins(folder)} | used
    text = json.dumps([vars(plugin) for plugin in kept.values()], indent=1)
    if not (folder / PLUGINS).is_file() or (folder / PLUGINS).read_text(encoding="utf-8") != text:
        write_text(folder / PLUGINS, text)
    check_plugins(study, folder, ledger)  # another command may have noted its own at the same moment


def check_unchanged(folder: Path) -> None:
    """Refuse to start a trial after a plug-in's files have changed: its processes would run other source than noted.

    Args:
        folder: The study's.

    Raises:
        ConfigError: With the plug-in.
    """
    noted = {plugin.name for plugin in read_plugins(folder)}
    for plugin in loaded_plugins().values():
        if plugin.name in noted and current_digest(plugin) != plugin.digest:
            raise ConfigError(
                f"plug-in {plugin.label}: has changed since the study's command began, so that trials would not be "
                "comparable; put it back as it was and run the same command again"
            )


def read_plugins(folder: Path) -> list[StudyPlugin]:
    """Read the plug-ins that a study's folder tells of; what is not as it was written is left out.

    Args:
        folder: The study's, or what was unpacked of a bundle, which may come from anybody.
    """
    try:
        found = json.loads((folder / PLUGINS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return list(_plugins_of(found))


def _noted(folder: Path, ledger: Ledger | None) -> list[StudyPlugin]:
    """The plug-ins of the record, or of the folder where the record is new."""
    text = None if ledger is None else ledger.attribute(_NOTED)
    return read_plugins(folder) if text is None else list(_plugins_of(json.loads(text)))


def _plugins_of(found: Any) -> Iterable[StudyPlugin]:
    for one in found if isinstance(found, list) else []:
        if not isinstance(one, dict) or not all(isinstance(one.get(field), str) for field in _TEXTS):
            continue
        source = one.get("source")
        kept = source if isinstance(source, dict) else {}
        texts = {str(path): text for path, text in kept.items() if isinstance(text, str)}
        yield StudyPlugin(one["name"], one["label"], one["digest"], texts, one.get("installed") is True)


def _installed(texts: set[str]) -> Iterable[Plugin]:
    """The plug-ins of installed packages that registered one of these names."""
    for plugin in loaded_plugins().values():
        if plugin.distribution is not None and texts & Registry.names_from(plugin.name):
            yield plugin


def _texts(settings: Any) -> Iterable[str]:
    """All texts within nested values."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        yield from _texts(list(settings.values()))
    elif isinstance(settings, list | tuple):
        for one in settings:
            yield from _texts(one)


def _with_source(plugin: Plugin) -> StudyPlugin:
    whole = sum(map(len, plugin.files.values())) <= _MOST_SOURCE
    source = {path: text.decode(errors="backslashreplace") for path, text in plugin.files.items()} if whole else {}
    return StudyPlugin(plugin.name, plugin.label, plugin.digest, source, plugin.distribution is not None)
