"""Files that are there as a whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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
