"""Configs that ship with the package and are found by name: ``--config cifar10``."""

from pathlib import Path
from typing import Any

import yaml

from biformer_lit.common.extends import extension_chain
from biformer_lit.common.yaml_text import exponents_as_numbers, load_yaml
from biformer_lit.errors import ConfigError
from biformer_lit.extending.plugin_words import REFUSAL

FOLDER = Path(__file__).parent


def recipes() -> dict[str, Path]:
    """Config files by the names that ``--config`` understands."""
    found = {path.stem: path for path in FOLDER.glob("*.yaml")}
    quickstart = FOLDER.parent.parent / "lightning_cli.yaml"  # a wheel has it in the folder, a checkout on top
    if quickstart.is_file():
        found.setdefault("digits", quickstart)
    return dict(sorted(found.items()))


def find_config(name: str) -> str:
    """The path of a config file, given as a path or as the name of a recipe.

    A file of that name in the working directory goes first, as everywhere.

    Raises:
        ConfigError: If there is neither.
    """
    known = recipes()
    if not Path(name).is_file() and name in known:  # a folder of that name is nobody's config
        return str(known[name])
    if not Path(name).is_file():
        raise ConfigError(
            f"--config {name}: there is neither such a file nor such a recipe; recipes are {', '.join(known)}"
        )
    return name


def read_config(path: str) -> dict[str, Any]:
    """Read the settings in a config file over those of the file or recipe that it extends.

    Mappings are merged key by key. Everything else is replaced as a whole, and so is a mapping that names another
    class. ``callbacks+`` adds items after the list ``callbacks`` of the extended file, ``+callbacks`` before it.

    Args:
        path: The file.

    Raises:
        ConfigError: With the file, the line where there is one, and what belongs there: the parser would not say which
            file it was.
    """
    merged: dict[str, Any] = {}
    try:
        for values in extension_chain(Path(path), _settings_in, _extended):
            merged = _over(merged, values, "")
    except ConfigError as error:
        raise ConfigError(f"--config {error}") from None
    return dict(exponents_as_numbers(merged))


def _settings_in(path: Path) -> dict[str, Any]:
    example = "write settings by name, as lightning_cli.yaml does"
    try:
        contents = load_yaml(path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{path}: {where}not YAML ({error.problem}); {example}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"{path}: not a text file in UTF-8; {example}") from None
    except ValueError as error:  # a date or a number that cannot be
        raise ConfigError(f"{path}: holds a value that cannot be read ({error}); put it in quotes") from None
    if not isinstance(contents, dict):
        found = "nothing" if contents is None else f"a {type(contents).__name__}"
        raise ConfigError(f"{path}: holds {found} instead of settings; {example}")
    if any("plugin" in part for part in (contents, *contents.values()) if isinstance(part, dict)):
        raise ConfigError(f"{path}: {REFUSAL}")
    return contents


def _extended(path: Path, parent: Any) -> Path:
    known = recipes()
    if isinstance(parent, str) and (path.parent / parent).is_file():
        return path.parent / parent
    if isinstance(parent, str) and parent in known:
        return known[parent]
    raise ConfigError(
        f"{path}: extends: {parent!r} is neither a file, relative to this one, nor a recipe; recipes are "
        f"{', '.join(known)}"
    )


def _over(old: dict[str, Any], new: dict[str, Any], where: str) -> dict[str, Any]:
    """Merge ``new`` into ``old``; neither is changed."""
    merged = dict(old)
    for key, value in new.items():
        name = key.strip("+") if isinstance(key, str) else key
        before = merged.get(name)
        if name != key and name in merged:
            merged[name] = _listed(before) + _listed(value) if key.endswith("+") else _listed(value) + _listed(before)
        elif old and isinstance(key, str) and key.startswith("+"):
            raise ConfigError(f"{where}{key}: the extended file has no {where}{name}; write {name}")
        elif isinstance(before, dict) and isinstance(value, dict) and _same_class(before, value):
            merged[key] = _over(before, value, f"{where}{key}.")
        else:
            merged[key] = value
    return merged


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same_class(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return not {"class_path"} <= old.keys() & new.keys() or _class_name(old) == _class_name(new)


def _class_name(settings: dict[str, Any]) -> str:
    return str(settings["class_path"]).rpartition(".")[2]
