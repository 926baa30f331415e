"""YAML: files from any source, measured before they are loaded, and values written so that every reader agrees."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from biformer_lit.errors import ConfigError

_MOST_BYTES = 2**20  # a complete config has ten thousand
_MOST_DEPTH = 50  # a complete config has ten levels
_MOST_VALUES = 100_000  # with aliases written out
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_PLAIN_TEXT = re.compile(r"[A-Za-z_/][\w./ -]*")  # no reader takes it for a number


def load_yaml(path: Path) -> Any:
    """The plain values in a YAML file; tags that would make other objects are errors, and so are keys given twice.

    Args:
        path: The file.

    Raises:
        ConfigError: Without the path, if the file is too large, too deep, contains itself, would become too large once
            its aliases are written out, as a "billion laughs" does, or holds a key twice.
        yaml.YAMLError: If it is not YAML.
        ValueError: If it is not UTF-8, or holds a date or a number that cannot be.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"holds more than {_MOST_BYTES:,} bytes, too many for settings; write a shorter file")
    return parse_yaml(content.decode("utf-8"))


def parse_yaml(text: str) -> Any:
    """The plain values in YAML; as ``load_yaml``.

    Raises:
        ConfigError: As ``load_yaml``, and if the text is too long.
        yaml.YAMLError: If it is not YAML.
        ValueError: If it holds a date or a number that cannot be.
    """
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"holds more than {_MOST_BYTES:,} characters, too many for settings; write a shorter text")
    _measure(text)
    return yaml.load(text, Loader=_KeysOnce)  # noqa: S506 (a SafeLoader)


def exponents_as_numbers(value: Any) -> Any:
    """Return plain values with texts such as 1e-3, which YAML 1.1 does not take for numbers, as numbers."""
    if isinstance(value, dict):
        return {key: exponents_as_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exponents_as_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def yaml_of(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, with every text in quotes that some reader of YAML could take for a number, as 1e-3."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
    """Writes no aliases, and texts that could be numbers in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        style = None if _PLAIN_TEXT.fullmatch(data) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


class _KeysOnce(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Refuses a key that a mapping holds twice; the reader itself takes the later value in silence."""

    def compose_mapping_node(self, anchor: str | None) -> Any:
        """Compose as the base class does, before ``<<`` merges the keys of other mappings, which may be the same."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise ConfigError(f"line {key.start_mark.line + 1}: {name} is given twice; remove one")
            seen.add(name)
        return node


def _measure(text: str) -> None:
    """Look at the events one by one: the reader itself recurses, and follows aliases."""
    counts = [0]  # values so far, in each of the collections that are open
    anchors: dict[str | None, int | None] = {}  # their values; None while they are open
    opened: list[str | None] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(event.anchor)
            counts.append(1)
            anchors[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            size = counts.pop()
            anchors[opened.pop()] = size
            counts[-1] += size
        elif isinstance(event, yaml.ScalarEvent):
            anchors[event.anchor] = 1
            counts[-1] += 1
        elif isinstance(event, yaml.AliasEvent):
            counts[-1] += _size(event, anchors)
        if len(opened) > _MOST_DEPTH:
            raise ConfigError(f"{_line(event)}nests more than {_MOST_DEPTH} levels deep; write a flatter file")
        if counts[-1] > _MOST_VALUES:
            raise ConfigError(
                f"{_line(event)}holds more than {_MOST_VALUES:,} values once its aliases are written out; write less"
            )


def _size(alias: Any, anchors: dict[str | None, int | None]) -> int:
    size = anchors.get(alias.anchor, 1)  # the reader itself refuses an alias of nothing
    if size is None:
        raise ConfigError(f"{_line(alias)}a value contains itself; remove the alias")
    return size


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}: "
