"""The files of a data set: those inside its folder, and no others."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub

from biformer_lit.data.images.decoding import read_file
from biformer_lit.errors import DataError

# what operating systems and tools leave behind
_LITTER = {"__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
_LITTER |= {".git", ".cache", ".huggingface", ".ipynb_checkpoints", ".DS_Store", ".gitattributes", ".gitignore"}
_LITTER |= {"Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"}


@dataclass(frozen=True)
class Files:
    """Files that may be read for a data set.

    Attributes:
        folder: The folder of the data set; what rows name is taken from here.
        allowed: Folders, without links, that all files lie in.
        remedy: What to do about a file that lies elsewhere.
        remedy_of_address: What to do about a file that is named by an address.
    """

    folder: Path
    allowed: tuple[Path, ...]
    remedy: str
    remedy_of_address: str = "download the file into the folder"

    @classmethod
    def of_hub(cls) -> "Files":
        """The files that ``datasets`` has fetched for data sets on the hub."""
        config = datasets.config
        caches = (
            *(config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH),
            huggingface_hub.constants.HF_HUB_CACHE,
        )
        allowed = tuple(Path(os.path.realpath(Path(cache).expanduser())) for cache in caches)
        remedy = "ask the author of the data set to store its images in its rows"
        return cls(allowed[0], allowed, remedy, "set data.init_args.streaming: false")

    @classmethod
    def of_folder(cls, folder: Path, files_root: str | None = None) -> "Files":
        """The files inside a folder, or inside ``files_root`` too.

        Raises:
            DataError: If ``files_root`` is no folder.
        """
        folder = folder.resolve()
        allowed = [folder]
        if folder.parent.name == "snapshots" and (folder.parents[1] / "blobs").is_dir():
            allowed.append(folder.parents[1] / "blobs")  # what was downloaded from the hub is links to these
        if files_root is not None:
            root = Path(os.path.expanduser(files_root))  # noqa: PTH111 (never raises)
            if not root.is_dir():
                raise DataError(
                    f"data.init_args.files_root: {files_root!r} is not a folder; correct it or leave it out"
                )
            allowed.append(root.resolve())
        remedy = "set data.init_args.files_root to a folder that it lies in if you trust the data set, or copy it here"
        return cls(folder, tuple(allowed), remedy)

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Return whether a file, after all links are followed, lies where it may."""
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(folder) for folder in self.allowed)

    def locate(self, name: str, where: str, start: Path | None = None) -> str:
        """The path of a file that the data set names.

        Args:
            name: A path inside the folder, relative or absolute.
            where: What names it, which begins the message of an error.
            start: What relative paths are relative to, by default the folder.

        Raises:
            DataError: If it is no path, or leads out of the folder.
        """
        if "\0" in name:
            raise DataError(f"{where}: {name!r} is not the name of a file; correct it")
        path = (start or self.folder) / name
        if "://" in name and not path.exists():
            raise DataError(
                f"{where}: {name!r} is an address, and nothing is fetched because a row names it; "
                f"{self.remedy_of_address}"
            )
        if not self.holds(path):
            raise DataError(
                f"{where}: {name!r} lies outside the data set's folder {str(self.folder)!r}; only files inside it are "
                f"read; {self.remedy}"
            )
        return str(path)

    def locate_images(self, value: Any, where: str) -> Any:
        """The same stored value with the paths in its images, however deep they lie, as ``locate`` gives them."""
        if isinstance(value, dict):
            if value.keys() == {"bytes", "path"}:
                path = value["path"]
                if value["bytes"] is not None or not isinstance(path, str):
                    return value
                return {"bytes": None, "path": self.locate(path, where)}
            return {name: self.locate_images(item, where) for name, item in value.items()}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [self.locate_images(item, where) for item in value]
        return value


@dataclass
class Listing:
    """Contents of a folder; all paths are relative to it, with ``/``.

    Attributes:
        names: Files, in the order of their names.
        hidden: Files and folders whose names begin with a dot.
        outside: Links that lead out of the folder, to files.
    """

    names: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def list_files(files: Files) -> Listing:
    """List a folder and what lies below it.

    Raises:
        DataError: If it cannot be read, a link to a folder leads out of it, or a name is not UTF-8.
    """
    listing = Listing()
    try:
        _list(files, "", (os.path.realpath(files.folder),), listing)
    except OSError as error:
        raise DataError(
            f"data.init_args.dataset: {str(error.filename)!r} cannot be listed ({error.strerror}); correct its "
            "permissions or leave it out"
        ) from error
    return listing


def _list(files: Files, inner: str, above: tuple[str, ...], listing: Listing) -> None:
    for entry in _entries(files.folder / inner):
        if entry.name in _LITTER:
            continue
        name = f"{inner}/{entry.name}" if inner else entry.name
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"data.init_args.dataset: the file name {os.fsencode(name)!r} is not UTF-8; rename it"
            ) from None
        if entry.name.startswith("."):
            listing.hidden.append(name)
        elif not entry.is_dir():
            (listing.outside if entry.is_symlink() and not files.holds(entry.path) else listing.names).append(name)
        elif not entry.is_symlink():
            _list(files, name, (*above, entry.path), listing)
        elif not files.holds(entry.path):
            raise DataError(
                f"data.init_args.dataset: {name!r} is a link that leads out of {str(files.folder)!r}, of which only "
                f"files inside are read; {files.remedy}"
            )
        elif (real := os.path.realpath(entry.path)) not in above:  # else it leads in a circle
            _list(files, name, (*above, real), listing)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)


def read_text(path: Path, most: int) -> str:
    """A text file of a data set, of at most ``most`` bytes.

    Raises:
        DataError: If it is no regular file, is longer, is not UTF-8 or cannot be read.
    """
    try:
        return read_file(path, most).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); correct or remove it") from error
