"""Check of a run's output paths before anything is built.

Libraries below take more than paths: fsspec reads ``::`` as a chain of file systems and ``NAME://`` as another one, in
which checkpoints would be lost or a run end with a traceback after its first epoch.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from jsonargparse import Namespace

from biformer_lit.errors import ConfigError

_NAMES: Final = ("default_root_dir", "save_dir", "dirpath", "root_dir", "log_dir", "dir", "folder")
_LONGEST_NAME: Final = 255  # bytes of a file's or a folder's name, on all common file systems
_LONGEST: Final = 4096 - 300  # bytes of a path, less what a run adds to it
_SHOWN: Final = 200  # characters of a path in a message
_SCHEME = re.compile(r"(file|local|data):|[A-Za-z][A-Za-z0-9+.-]*://")
_REMOTE: Final = ("s3://", "s3a://", "gs://", "gcs://", "abfs://", "abfss://", "az://", "hdfs://")


def check_output_paths(section: Namespace) -> None:
    """Refuse places that a run cannot write to.

    Args:
        section: The settings of a subcommand.

    Raises:
        ConfigError: Naming the setting, the place, and what is wrong with it.
    """
    _refuse("the working folder", str(Path.cwd()), _address(str(Path.cwd())))
    for key, path in _outputs(section.get("trainer"), "trainer"):
        if not _is_remote(path):
            inside = key.endswith(".filename")  # of a folder that is looked at by its own name, or is not known yet
            _refuse(key, path, _address(path) or _impossible(path) or (None if inside else _blocked(path)))
    predictions = section.get("predictions")
    if predictions and isinstance(path := predictions.get("path"), str | os.PathLike):
        place = os.fspath(path)
        _refuse("predictions.path", place, _address(place) or _impossible(place) or _blocked(str(Path(place).parent)))


def check_no_address(key: str, path: str) -> None:
    """Refuse a path that libraries would read as an address.

    Raises:
        ConfigError: Naming the setting.
    """
    _refuse(key, path, _address(path))


def _refuse(key: str, path: str, problem: str | None) -> None:
    if problem:
        raise ConfigError(f"{key}={path if len(path) < _SHOWN else path[:_SHOWN] + '...'} {problem}")


def _outputs(settings: Any, key: str) -> Iterator[tuple[str, str]]:
    """The places in a trainer's settings, with the keys that name them."""
    if isinstance(settings, list):
        for i, one in enumerate(settings):
            yield from _outputs(one, f"{key}[{i}]")
    if not isinstance(settings, Namespace | dict):
        return
    entries = vars(settings) if isinstance(settings, Namespace) else settings
    for name, value in entries.items():
        where = key if name == "init_args" else f"{key}.{name}"
        if name in _NAMES and isinstance(value, str | os.PathLike):
            yield where, os.path.join(value, *_below(name, entries))  # noqa: PTH118  # which a URL is not to lose //
        elif name == "filename" and isinstance(value, str):  # of a checkpoint, with its suffix
            yield where, f"{value}.ckpt"
        else:
            yield from _outputs(value, where)


def _below(name: str, logger: Any) -> list[str]:
    """Return what a logger adds to its folder."""
    parts = [logger.get("name"), logger.get("version"), logger.get("sub_dir")] if name == "save_dir" else []
    return [part for part in parts if isinstance(part, str) and part]


def _is_remote(path: str) -> bool:
    return path.startswith(_REMOTE) and "::" not in path


def _address(path: str) -> str | None:
    """Return the message for an address that is no path."""
    if "::" not in path and not _SCHEME.match(path):
        return None
    return (
        "would be read as an address; write a path without '::' and without a scheme such as file: (a run's folder "
        f"may begin with {', '.join(_REMOTE[:3])} and the like)"
    )


def _impossible(path: str) -> str | None:
    """Return the message for a path that no file system accepts."""
    if "\0" in path:
        return "holds a character of number 0; write a path without it"
    place = Path(path).expanduser().absolute()
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in place.parts):
        return f"has a name of more than {_LONGEST_NAME} bytes, which no file system takes; shorten it"
    return f"is longer than {_LONGEST} bytes; shorten it" if len(os.fsencode(str(place))) > _LONGEST else None


def _blocked(path: str) -> str | None:
    """Return the message for a folder that cannot be created or written to."""
    place = Path(path).expanduser().absolute()
    for parent in (place, *place.parents):
        if parent.is_dir():
            allowed = os.access(parent, os.W_OK | os.X_OK)
            return (
                None
                if allowed
                else f"cannot be written: {parent} may not be written to; choose another folder, or change its rights"
            )
        if os.path.lexists(parent):
            what = "a link to nothing" if parent.is_symlink() and not parent.exists() else "a file"
            return f"cannot be made: {parent} is {what}, where a folder is to be; choose another place"
    return None
