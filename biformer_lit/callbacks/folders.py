"""Folders for predictions, in which no existing file is replaced."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from biformer_lit.errors import ConfigError


def check_new(path: Path, kind: str) -> None:
    """Refuse a place where something is, or from which a link leads elsewhere.

    Args:
        path: The place.
        kind: What is to be put there, file or folder.

    Raises:
        ConfigError: If it is taken, is a link, or lies in a folder that does not exist.
    """
    if path.is_symlink():  # a link that leads nowhere does not "exist", and writing would follow it
        raise ConfigError(f"predictions.path={path} is a link, which is not followed; give the {kind} itself")
    if path.exists() and (kind == "file" or not path.is_dir() or any(path.iterdir())):
        do = "empty it" if kind == "folder" else "remove it"
        raise ConfigError(f"predictions.path={path} exists already; choose another {kind} or {do}")
    check_parent(path)


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
        ConfigError: If the folder holds something, is a file or a link, or lies where there is none.
    """
    check_new(folder, "folder")
    for name in inside:
        (folder / name).mkdir(parents=True)


def picture_name(index: int) -> str:
    """File name of the picture of an image, its row number with at least six digits."""
    return f"{index:06d}.png"


def save_picture(picture: Image.Image, path: Path, named: Mapping[str, Any]) -> None:
    """Save a PNG that tells which image it belongs to.

    Args:
        picture: The picture.
        path: The file.
        named: What identifies the image besides its row, by name; becomes text chunks of these keywords.
    """
    texts = PngInfo()
    for name, value in named.items():
        texts.add_itxt(name, "" if value is None else str(value))
    picture.save(path, format="PNG", pnginfo=texts)
