"""Identity of an image besides its row: the file it came from, and the data set's own key."""

import re
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from biformer_lit.data.loading import local_path
from biformer_lit.text.escaping import visible

FILE = "file"
"""Entry of samples and batches: the image's file, or ``__key__``, as text; empty where a row has none."""
IMAGE_ID = "image_id"
"""Entry of samples and batches: the number or text by which the data set knows the image, None where a row has none."""

_FILE_COLUMNS = ("file_name", "filename", "image_path", "img_path", "file_path", "filepath", "path", "__key__")
_ID_COLUMNS = ("image_id", "img_id", "imageid", "id")
_SCHEME = re.compile(r"^(hf://datasets/[^/]+/[^/]+/|\w+://)")
_CACHED = re.compile(r"^.*/(extracted|snapshots)/[0-9a-f]{32,}/")  # where archives and hub files lie on this machine
_LONGEST = 300


@dataclass(frozen=True)
class Identity:
    """Columns of a data set that identify the image of each row.

    Attributes:
        image_column: Column with the image.
        file_column: Column with the name of the image's file, or its key; None if there is none.
        id_column: Column with the data set's own number or text for the image; None if there is none.
        has_files: Whether rows have a file: from ``file_column``, else from the stored image.
        root: The folder of the data set, in which paths are told; None for what is no local folder.
    """

    image_column: str
    file_column: str | None = None
    id_column: str | None = None
    has_files: bool = False
    root: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns it needs besides the images."""
        return [column for column in (self.file_column, self.id_column) if column is not None]

    @property
    def names(self) -> list[str]:
        """The entries of a sample that ``of`` gives."""
        return [FILE] * self.has_files + [IMAGE_ID] * (self.id_column is not None)

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """Entries of a sample: ``file`` if rows have files, ``image_id`` if they have such a column."""
        found: dict[str, Any] = {FILE: self.file(row)} if self.has_files else {}
        if self.id_column is not None:
            found[IMAGE_ID] = row.get(self.id_column)
        return found

    def file(self, row: dict[str, Any]) -> str:
        """The image's file, relative to the data set's folder where it lies in it; empty if nothing is known."""
        path = None if self.file_column is None else row.get(self.file_column)
        if path is None or path == "":
            stored = row.get(self.image_column)
            path = stored.get("path") if isinstance(stored, dict) else None
        return "" if path is None or path == "" else path_inside(str(path), self.root)

    def called(self, row: dict[str, Any]) -> str:
        """The file or key in brackets with a space before, for the messages about a row; empty if there is none."""
        name = self.file(row)
        if not name and self.id_column is not None and row.get(self.id_column) is not None:
            name = f"{self.id_column} {row[self.id_column]}"
        return f" ({visible(name, _LONGEST)})" if name else ""


def path_inside(path: str, root: str | None) -> str:
    """A stored path as one within its data set: without the folder, the archive, or the address it lies at."""
    if root and path.startswith(f"{root}/"):  # whatever characters are in it
        return path[len(root) + 1 :]
    inner = _CACHED.sub("", _SCHEME.sub("", path.split("::", maxsplit=1)[0]).replace("\\", "/"))
    return inner[len(root) + 1 :] if root and inner.startswith(f"{root}/") else inner


def find_identity(
    features: datasets.Features, table: Any, image_column: str, targets: list[str], dataset: str
) -> Identity:
    """Columns of a data set that identify the image of each row.

    Args:
        features: Columns of the data set.
        table: One of its splits.
        image_column: Column with the images.
        targets: Columns that hold something else.
        dataset: What the user gave as the data set.
    """
    scalars = [
        name
        for name, feature in features.items()
        if name not in {image_column, *targets}
        and isinstance(feature, datasets.Value)
        and feature.dtype.startswith(("int", "uint", "string", "large_string"))
    ]
    file_column = next((name for name in _FILE_COLUMNS if name in scalars), None)
    id_column = next((name for name in _ID_COLUMNS if name in scalars), None)
    folder = local_path(dataset)
    root = folder.resolve().as_posix() if folder.is_dir() else None
    has_files = file_column is not None or _has_paths(features[image_column], table, image_column)
    return Identity(image_column, file_column, id_column, has_files, root)


def _has_paths(feature: Any, table: Any, column: str) -> bool:
    if not isinstance(feature, datasets.Image) and not (isinstance(feature, dict) and "path" in feature):
        return False
    if isinstance(table, datasets.IterableDataset):
        return True  # nobody knows before the rows come
    if len(table) == 0:
        return False
    values = table.data.column(column)  # nothing is copied, not even where rows were selected
    if not pa.types.is_struct(values.type):
        return False
    return bool(pc.any(pc.is_valid(pc.struct_field(values, "path"))).as_py())
