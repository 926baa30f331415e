"""Folders of reports and comparisons, in which no file of the user's is replaced."""

from collections.abc import Iterable
from pathlib import Path

from biformer_lit.errors import ConfigError

MARK = "written by biformer_lit"
"""Stands in the first file of each report and comparison; a folder whose file has it may be written again."""
_SEEN = 4096  # bytes at the start of that file


def check_place(option: str, folder: Path, first: str, others: Iterable[str] = ()) -> None:
    """Refuse a folder that holds files of the same names which no earlier report wrote.

    Args:
        option: The option that names the folder, for the message.
        folder: The folder, which may not exist yet.
        first: Name of the file that holds :data:`MARK`.
        others: Names of what else is written.

    Raises:
        ConfigError: With the first such file.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{option}={folder}: is a file; give a folder")
    found = [folder / name for name in (first, *others) if (folder / name).exists() or (folder / name).is_symlink()]
    if found and not _is_ours(folder / first):
        raise ConfigError(f"{option}={folder}: {found[0].name} exists already; choose another folder or remove it")


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(_SEEN)
    except OSError:
        return False
