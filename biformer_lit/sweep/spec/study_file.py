"""A study file as nested plain values: read, checked for keys given twice, merged with the file that it extends."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from biformer_lit.common.yaml_text import load_yaml
from biformer_lit.errors import ConfigError

_SHORT_FORM = {"key", "values", "low", "high", "log", "step", "integer"}
_PLAIN_TEXT = re.compile(r"[A-Za-z_/][\w./ -]*")  # no reader takes it for a number
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def read_study_file(path: Path, opened: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a study file over those of the file it extends.

    Mappings are merged key by key, and null deletes a key of the extended file; everything else is replaced as a whole.
    ``base`` is made absolute where it is a file beside the study.

    Args:
        path: The file.
        opened: Files whose extension this one is.

    Raises:
        ConfigError: If a file cannot be read, is not YAML, holds a key twice or extends itself.
    """
    if path.resolve() in opened:
        raise ConfigError(f"{path}: extends: the files extend each other in a circle; remove one of the lines")
    values = read_yaml(path)
    if "base" in values:
        values["base"] = _beside(path, values["base"])
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or not (path.parent / parent).is_file():
        raise ConfigError(f"{path}: extends: {parent!r} is not a file; give a path relative to this file")
    inherited = read_study_file(path.parent / parent, (*opened, path.resolve()))
    inherited.pop("name", None)  # a name is also a folder, which two studies must not share
    return merge(inherited, values)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, with 1e-3 read as a number.

    Raises:
        ConfigError: With the file and, where there is one, the line.
    """
    try:
        values = load_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a study file") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{path}: {where}not YAML ({error.problem}); correct it") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise ConfigError(f"{path}: {error}") from None
        raise ConfigError(f"{path}: cannot be read as YAML in UTF-8 ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigError(
            f"{path}: holds {found} instead of a study; write its settings by name (question, base, plan)"
        )
    numbered: dict[str, Any] = _numbers(values)
    return numbered


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


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``new`` over ``old``, key by key at every depth; neither is changed."""
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if value is None and key in merged:
            del merged[key]
        elif isinstance(before, dict) and isinstance(value, dict) and not _other_form(before, value):
            merged[key] = merge(before, value)
        else:
            merged[key] = value
    return merged


def _other_form(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether one is a factor written with ``key`` and the other one written with labels, which do not mix."""
    return ("key" in new and "key" not in old) or ("key" in old and not _SHORT_FORM & new.keys())


def _beside(path: Path, base: Any) -> Any:
    """``base`` with the files that lie relative to the study file made absolute."""
    if isinstance(base, list):
        return [_beside(path, item) for item in base]
    if isinstance(base, str) and (path.parent / base).is_file():
        return str((path.parent / base).resolve())
    return base


def _numbers(value: Any) -> Any:
    """Numbers such as 1e-3, which YAML 1.1 takes for text, as numbers."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value
