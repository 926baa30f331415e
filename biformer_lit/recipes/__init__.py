"""Configs that ship with the package and are found by name: ``--config cifar10``."""

from pathlib import Path

import yaml

from biformer_lit.common.yaml_text import load_yaml
from biformer_lit.errors import ConfigError

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


def check_config(path: str) -> None:
    """Refuse a file that does not hold settings; the parser would not say which file it was.

    Raises:
        ConfigError: With the file, the line where there is one, and what belongs there.
    """
    example = "write settings by name, as lightning_cli.yaml does"
    try:
        contents = load_yaml(Path(path))
    except ConfigError as error:
        raise ConfigError(f"--config {path}: {error}") from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"--config {path}: {where}not YAML ({error.problem}); {example}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"--config {path}: not a text file in UTF-8; {example}") from None
    except ValueError as error:  # a date or a number that cannot be
        raise ConfigError(f"--config {path}: holds a value that cannot be read ({error}); put it in quotes") from None
    if not isinstance(contents, dict):
        found = "nothing" if contents is None else f"a {type(contents).__name__}"
        raise ConfigError(f"--config {path}: holds {found} instead of settings; {example}")
