"""Card of a data set (``README.md``): what it says about the files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import yaml
from fsspec.utils import glob_translate

from biformer_lit.common.yaml_text import parse_yaml
from biformer_lit.data.folder.folder_files import read_text
from biformer_lit.errors import ConfigError, DataError

_CARD = "README.md"
_MOST_BYTES = 2**23  # the text may be long
_HEAD = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", re.DOTALL)
_SPLIT_FIELDS = {"train"}


class Card(NamedTuple):
    """The configuration of a data set that was asked for.

    Attributes:
        patterns: For each split the names or patterns of its files; None if the card says nothing of them.
        folder: The folder that its files lie in, if the card names one.
        features: What the columns hold, if the card says so.
    """

    patterns: dict[str, list[str]] | None = None
    folder: str | None = None
    features: datasets.Features | None = None


def read_card(folder: Path, config_name: str | None) -> Card:
    """The part of a card that concerns one configuration.

    Args:
        folder: The folder of the data set.
        config_name: The configuration, by default the one that the card calls so, or the only one, or ``default``.

    Raises:
        DataError: If the card cannot be read, or what it says of files is not understood.
        ConfigError: If there is no such configuration, or several and none is given.
    """
    path = folder / _CARD
    if not path.exists() or not (head := _HEAD.match(read_text(path, _MOST_BYTES))):
        return _without_card(config_name)
    try:
        content = parse_yaml(head[1])
    except (ConfigError, yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path}: its head is not YAML that describes a data set ({reason}); correct or remove it"
        ) from error
    if not isinstance(content, dict):
        return _without_card(config_name)
    configs = _by_name(content.get("configs"))
    infos = _by_name(content.get("dataset_info"))
    name = _choose(path, configs or infos, config_name)
    config = configs.get(name, {})
    inner = config.get("data_dir")
    if inner is not None and (not isinstance(inner, str) or _leads_out(inner)):
        raise DataError(_outside(path, inner))
    patterns = _patterns(path, config["data_files"]) if config.get("data_files") is not None else None
    return Card(patterns, inner, _features(path, infos.get(name)))


def _without_card(config_name: str | None) -> Card:
    if config_name not in {None, "default"}:
        raise ConfigError(
            f"data.init_args.config_name: {config_name!r} given, but no {_CARD} names configurations; leave it out"
        )
    return Card()


def _by_name(entries: Any) -> dict[str, dict[str, Any]]:
    listed = entries if isinstance(entries, list) else [entries]
    return {str(entry.get("config_name", "default")): entry for entry in listed if isinstance(entry, dict)}


def _choose(path: Path, entries: dict[str, dict[str, Any]], given: str | None) -> str:
    if given is not None:
        if entries and given not in entries:
            raise ConfigError(
                f"data.init_args.config_name: no configuration {given!r}; {path} has {', '.join(entries)}"
            )
        return given
    marked = [name for name, entry in entries.items() if entry.get("default") is True]
    if len(entries) <= 1 or marked or "default" in entries:
        return next(iter(marked or (["default"] if "default" in entries else entries)), "default")
    raise ConfigError(f"data.init_args.config_name: {path} has the configurations {', '.join(entries)}; name one")


def _patterns(path: Path, entry: Any) -> dict[str, list[str]]:
    """The forms that ``datasets`` knows: a pattern, a list of them, a mapping by split, or a list of split and path."""
    if isinstance(entry, list) and any(isinstance(item, dict) for item in entry):
        entry = {item.get("split"): item.get("path") for item in entry if isinstance(item, dict)}
    elif not isinstance(entry, dict):
        entry = {"train": entry}
    found = {str(split): names if isinstance(names, list) else [names] for split, names in entry.items()}
    for name in (name for names in found.values() for name in names):
        if not isinstance(name, str):
            raise DataError(f"{path}: data_files: {name!r} is not the name of a file; correct it")
        if _leads_out(name):
            raise DataError(_outside(path, name))
    return found


def _leads_out(name: str) -> bool:
    start = re.match(r"[/\\~]|[A-Za-z]:", name) is not None
    return start or "://" in name or "::" in name or ".." in re.split(r"[/\\]", name)


def _outside(path: Path, name: Any) -> str:
    return (
        f"{path}: {name!r} leads out of the folder; only files inside it are read, and nothing is fetched: correct the "
        "card, or give the id of the data set on the hub instead of a folder"
    )


def _features(path: Path, info: dict[str, Any] | None) -> datasets.Features | None:
    if info is None or info.get("features") is None:
        return None
    try:
        made = datasets.info.DatasetInfosDict.from_dataset_card_data({"dataset_info": info})
        return next(iter(made.values())).features
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path}: its dataset_info does not describe columns ({reason}); correct or remove it"
        ) from error


def match_files(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The files that patterns mean: a file, a folder with all in it, or a pattern with ``*``, ``**``, ``?`` and ``[]``.

    Args:
        names: The files there are.
        patterns: Relative to the same folder; one that is the name of a file means this file.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        plain = pattern.removeprefix("./").rstrip("/")
        same = [name for name in names if name == plain or name.startswith(f"{plain}/") or plain in {"", "."}]
        try:
            rule = re.compile(glob_translate(plain))
        except re.error:
            rule = re.compile(re.escape(plain))
        found.update(dict.fromkeys(same or [name for name in names if rule.fullmatch(name)]))
    return list(found)
