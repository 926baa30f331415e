"""Source files of a plug-in, and their digest."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Plugin:
    """A plug-in that was loaded.

    Attributes:
        name: Import path of its module.
        argument: What ``--plugin`` takes to load it again: the absolute path of its file, or its module. Of an
            installed plug-in its distribution, which loads itself.
        files: Its source by path, relative to the folder that holds the file or the package.
        digest: SHA-256 of the source, 64 hex digits; see :func:`digest_of`.
        distribution: Name and version of the installed package that it came with; None if it was given by ``--plugin``.
    """

    name: str
    argument: str
    files: Mapping[str, bytes]
    digest: str
    distribution: str | None = None

    @property
    def label(self) -> str:
        """Name as given to ``--plugin``: the file, the module, or the distribution."""
        return Path(self.argument).name if self.argument.endswith(".py") else self.argument


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 of source files, as 64 hex digits.

    Of one file it is what ``sha256sum FILE`` prints. Of several it is the SHA-256 of what ``sha256sum`` prints of them
    in the order of their paths.

    Args:
        files: Path to contents.
    """
    if len(files) == 1:
        return hashlib.sha256(next(iter(files.values()))).hexdigest()
    lines = [f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def source_files(module: ModuleType) -> dict[str, bytes]:
    """The source that a module is made of: its file, or all ``.py`` files of the outermost package around it.

    A package is a folder with ``__init__.py``. Empty for a module without source, such as a compiled one.
    """
    file = getattr(module, "__file__", None)
    if file is None or Path(file).suffix != ".py":
        return {}
    package = _outermost_package(module.__name__)
    if package is None:
        return {Path(file).name: Path(file).read_bytes()}
    return {
        f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*.py"))
    }


def _outermost_package(name: str) -> Path | None:
    """Folder of the outermost regular package that a module of this name is in, or is."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        file = getattr(sys.modules.get(".".join(parts[:length])), "__file__", None)
        if file is not None and Path(file).name == "__init__.py":
            return Path(file).parent
    return None
