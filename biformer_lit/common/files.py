"""Files that are there as a whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = ".part"


@contextlib.contextmanager
def replacing(path: Path, named: str | None = None) -> Iterator[Path]:
    """A path to write to, whose file takes the place of another once it is complete.

    Whoever reads meanwhile, and whenever this process is killed, finds the old file or the new one.

    Args:
        path: The file to replace; it need not exist.
        named: What the unfinished file's name is made of, by default that of the file; for programs that would read
            whatever has such a name.

    Yields:
        A path in the same folder, as a rename across disks would not be in one step.
    """
    temporary = path.with_name(f".{named or path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, the whole or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def durable(path: Path, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of another once it is complete and on the disk.

    For large files that must outlive a power cut. Whoever reads meanwhile, and whenever this process or the machine
    stops, finds the old file or the new one. What killed processes left of the same file is removed.

    Args:
        path: The file to replace; it need not exist.
        keep: Where the replaced file stays as a second name of the same data, in the same folder. Left out if the
            file system has no hard links.

    Yields:
        An open file in the same folder, which has its path as ``name``.
    """
    remove_unfinished(path)
    file = _unfinished(path)
    temporary = Path(file.name)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if keep is not None and path.is_file() and not path.is_symlink():
                _link(path, keep)
            if fcntl is None:  # Windows renames no open file; elsewhere the lock is held to the end
                file.close()
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes left of a file that :func:`durable` was to write.

    A process holds a lock on its unfinished file for as long as it lives, also one on another machine that shares the
    file system, so what can be locked is nobody's. Where there are no locks nothing is removed.
    """
    if fcntl is None:
        return
    start = f".{path.name}."
    for left in path.parent.iterdir() if path.parent.is_dir() else ():
        if not (left.name.startswith(start) and left.name.endswith(_UNFINISHED)):
            continue
        with contextlib.suppress(OSError), left.open("rb+") as file:  # BlockingIOError: it is being written
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _unfinished(path: Path) -> IO[bytes]:
    """A new file beside ``path``, locked."""
    while True:
        file = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}").open("xb")
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if Path(file.name).exists():  # else it was taken for a killed process's before it was locked
            return file
        file.close()


def _link(path: Path, other: Path) -> None:
    """Make ``other`` a second name of a file, in one step."""
    link = other.with_name(f".{other.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    with contextlib.suppress(OSError):
        try:
            os.link(path, link)
            link.replace(other)
        finally:
            link.unlink(missing_ok=True)  # a rename onto the same data does nothing


def _sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
