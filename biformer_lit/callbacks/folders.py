"""Where predictions go: never over something that is there."""

from pathlib import Path

from biformer_lit.errors import ConfigError


def check_parent(path: Path) -> None:
    """Refuse a place in a folder that does not exist.

    Raises:
        ConfigError: If there is no such folder.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"predictions.path={path}: the folder {path.parent} does not exist; make it first")


def make_folder(folder: Path, *inside: str) -> None:
    """Make a folder and others in it.

    Args:
        folder: The folder; it may exist if it is empty.
        inside: Names of the folders in it.

    Raises:
        ConfigError: If the folder holds something, is a file, or lies where there is none.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"predictions.path={folder} exists already; choose another folder or empty it")
    check_parent(folder)
    for name in inside:
        (folder / name).mkdir(parents=True)


def picture_name(index: int) -> str:
    """File name of the picture of an image, its row number with at least six digits."""
    return f"{index:06d}.png"
