"""Configs that ship with the package and are found by name: ``--config cifar10``."""

from pathlib import Path

from biformer_lit.errors import ConfigError

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """Names that ``--config`` understands."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_config(name: str) -> str:
    """The path of a config file, given as a path or as the name of a recipe.

    A file of that name in the working directory goes first, as everywhere.

    Raises:
        ConfigError: If there is neither.
    """
    recipe = FOLDER / f"{name}.yaml"
    if not Path(name).exists() and recipe.is_file():
        return str(recipe)
    if not Path(name).is_file():
        raise ConfigError(
            f"--config {name}: there is neither such a file nor such a recipe; recipes are {', '.join(recipe_names())}"
        )
    return name
