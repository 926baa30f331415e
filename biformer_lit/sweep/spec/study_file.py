"""A study file as nested plain values: read, checked for keys given twice, merged with the file that it extends."""

from pathlib import Path
from typing import Any

import yaml

from biformer_lit.common.extends import extension_chain
from biformer_lit.common.yaml_text import exponents_as_numbers, load_yaml
from biformer_lit.errors import ConfigError

_SHORT_FORM = {"key", "values", "low", "high", "log", "step", "integer"}


def read_study_file(path: Path) -> dict[str, Any]:
    """Read the settings of a study file over those of the file it extends.

    Mappings are merged key by key, and null deletes a key of the extended file; everything else is replaced as a whole.
    ``base`` is made absolute where it is a file beside the study.

    Args:
        path: The file.

    Raises:
        ConfigError: If a file cannot be read, is not YAML, holds a key twice or extends itself.
    """
    merged: dict[str, Any] = {}
    for values in extension_chain(path, _read_study, _extended):
        merged.pop("name", None)  # a name is also a folder, which two studies must not share
        merged = merge(merged, values)
    return merged


def _read_study(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    return values | {"base": _beside(path, values["base"])} if "base" in values else values


def _extended(path: Path, parent: Any) -> Path:
    if not isinstance(parent, str) or not (path.parent / parent).is_file():
        raise ConfigError(f"{path}: extends: {parent!r} is not a file; give a path relative to this file")
    return path.parent / parent


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
    numbered: dict[str, Any] = exponents_as_numbers(values)
    return numbered


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
    """Return whether one is a factor written with ``key`` and the other one written with labels, which do not mix."""
    return ("key" in new and "key" not in old) or ("key" in old and not _SHORT_FORM & new.keys())


def _beside(path: Path, base: Any) -> Any:
    """``base`` with the files that lie relative to the study file made absolute."""
    if isinstance(base, list):
        return [_beside(path, item) for item in base]
    if isinstance(base, str) and (path.parent / base).is_file():
        return str((path.parent / base).resolve())
    return base
