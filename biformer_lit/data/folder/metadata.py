"""Rows that ``metadata.jsonl``, ``metadata.csv`` or ``metadata.parquet`` tells of images in a folder."""

import dataclasses
import io
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from biformer_lit.data.columns import listed
from biformer_lit.data.folder.folder_files import Files
from biformer_lit.data.images.decoding import read_file
from biformer_lit.errors import DataError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Names of the files that tell of images, as ``datasets`` has them."""

_MOST_BYTES = 2**31 - 1  # what Arrow reads as one block, whose columns then have one type
_READING_ERRORS = (OSError, ValueError, pa.ArrowException, MemoryError)


def is_metadata(name: str) -> bool:
    """Return whether a file tells of images."""
    return PurePosixPath(name).name in METADATA


def read_metadata(files: Files, name: str, image_column: str = "image") -> tuple[pa.Table, datasets.Features]:
    """Rows of a file that tells of images, with these as ``datasets`` stores them.

    ``file_name`` becomes ``image_column``, ``x_file_name`` an image ``x``, ``x_file_names`` a list of images ``x``,
    also within structs and lists. Paths are relative to the folder of the file.

    Args:
        files: Which files may be named.
        name: The file, relative to the folder of the data set.
        image_column: What the column of the images is called.

    Raises:
        DataError: If it cannot be read, has no ``file_name``, or names a file outside the folder.
    """
    path = files.folder / name
    try:
        table = _read(path)
        features = datasets.Features.from_arrow_schema(table.schema)
    except _READING_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{path}: cannot be read ({reason}); correct or remove it") from error
    made = _features(features, image_column)
    if made == features:
        raise DataError(
            f"{path}: has no column file_name (its columns are {', '.join(features)}); write the path of each image "
            "there, relative to the file"
        )
    told = _Told(files, path.parent, image_column)
    rows = [told.values(row, features, f"{path}, row {number}") for number, row in enumerate(table.to_pylist())]
    return pa.Table.from_pylist(rows, schema=made.arrow_schema), made


def _image_of(name: str, feature: Any, image_column: str) -> tuple[str, bool] | None:
    """Return the column of the image whose file is named in column ``name``, and whether it holds several."""
    for ending, many in (("file_name", False), ("file_names", True)):
        kind = listed(feature) if many else feature
        stem = name.removesuffix(ending)
        text = isinstance(kind, datasets.Value) and kind.dtype in {"string", "large_string"}
        if text and stem != name and (not stem or stem.endswith("_")):
            return stem.removesuffix("_") or (f"{image_column}s" if many else image_column), many
    return None


def _features(features: Any, image_column: str) -> datasets.Features:
    made: dict[str, Any] = {}
    for name, feature in features.items():
        image = _image_of(name, feature, image_column)
        if image is not None:
            made[image[0]] = _with_items(feature, datasets.Image()) if image[1] else datasets.Image()
        else:
            made[name] = _inner_features(feature, image_column)
    return datasets.Features(made)


def _inner_features(feature: Any, image_column: str) -> Any:
    if isinstance(feature, dict):
        return dict(_features(feature, image_column))
    inner = listed(feature)
    return feature if inner is None else _with_items(feature, _inner_features(inner, image_column))


def _with_items(feature: Any, item: Any) -> Any:
    """The same list of other items."""
    return [item] if isinstance(feature, list) else dataclasses.replace(feature, feature=item)


class _Told:
    """Puts images where a row names their files."""

    def __init__(self, files: Files, start: Path, image_column: str) -> None:
        self._files, self._start, self._image_column = files, start, image_column

    def values(self, row: dict[str, Any], features: Any, where: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in row.items():
            image = _image_of(name, features[name], self._image_column)
            if image is None:
                made[name] = self._inner(value, features[name], where)
            elif image[1]:
                made[image[0]] = None if value is None else [self._image(item, where) for item in value]
            else:
                made[image[0]] = self._image(value, where)
        return made

    def _inner(self, value: Any, feature: Any, where: str) -> Any:
        if isinstance(value, dict) and isinstance(feature, dict):
            return self.values(value, feature, where)
        inner = listed(feature)
        if isinstance(value, list) and (isinstance(inner, dict) or listed(inner) is not None):
            return [self._inner(item, inner, where) for item in value]
        return value

    def _image(self, name: str | None, where: str) -> dict[str, str | None] | None:
        return None if name is None else {"bytes": None, "path": self._files.locate(name, where, self._start)}


def _read(path: Path) -> pa.Table:
    content = read_file(path, _MOST_BYTES)
    if path.suffix == ".parquet":
        return pq.read_table(pa.BufferReader(content))
    if path.suffix == ".jsonl":
        options = pyarrow.json.ReadOptions(block_size=max(len(content), 1) + 1)
        return pyarrow.json.read_json(pa.BufferReader(content), read_options=options)
    header = pd.read_csv(io.BytesIO(content), nrows=0).columns
    kinds: dict[Any, Any] = {column: str for column in header if str(column).endswith(("file_name", "file_names"))}
    # a class may be called NA or None
    table = pd.read_csv(io.BytesIO(content), dtype=kinds, keep_default_na=False, na_values=[""])
    return pa.Table.from_pandas(table, preserve_index=False)
