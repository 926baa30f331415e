"""Tables of images of which metadata tells: one row for each of its rows."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pyarrow as pa

from biformer_lit.data.folder.folder_files import Files
from biformer_lit.data.folder.folder_report import FolderReport, examples
from biformer_lit.data.folder.metadata import is_metadata, read_metadata
from biformer_lit.data.folder.splits import divide_images
from biformer_lit.errors import DataError


def told_tables(
    files: Files,
    groups: dict[str | None, list[str]],
    images: list[str],
    report: FolderReport,
    declared: datasets.Features | None,
) -> dict[str, datasets.Dataset]:
    """The rows of metadata, divided into splits by the folders of their images.

    Args:
        files: Which files may be read.
        groups: The files in the folder by their split; under None if folders say it.
        images: The images in the folder.
        report: Where what is not used is entered.
        declared: Columns as the data set's card describes them; of these only the names of classes count.

    Raises:
        DataError: If metadata cannot be read, names files outside the folder, or differs within a split.
    """
    parts: dict[str, list[tuple[pa.Table, datasets.Features]]] = {}
    named: set[str] = set()
    told = ""
    for given, members in groups.items():
        read = {told: read_metadata(files, told) for told in members if is_metadata(told)}
        inner = {name: [_inner_name(files, name, path) for path in _main_paths(*part)] for name, part in read.items()}
        division = divide_images(sorted(set().union(*inner.values())))
        _tell_loose(division.loose, report)
        split_of = {name: given or split for split, found in division.splits.items() for name, _ in found}
        for name, (table, features) in read.items():
            told = told or PurePosixPath(name).name
            named |= _named_paths(table.to_pylist())
            for split in dict.fromkeys(split_of.values()):
                rows = [row for row, image in enumerate(inner[name]) if split_of.get(image) == split]
                if rows:
                    parts.setdefault(split, []).append((table.take(rows), features))
    _tell_missing(files, named, images, told, report)
    return {split: _declare(_join(split, members), declared) for split, members in parts.items()}


def _tell_loose(loose: list[str], report: FolderReport) -> None:
    if loose:
        report.remarks.append(f"rows of metadata name images beside the folders of the splits ({examples(loose)})")


def _tell_missing(files: Files, named: set[str], images: list[str], told: str, report: FolderReport) -> None:
    missing = sorted(path for path in named if not Path(path).exists())
    if missing:
        report.remarks.append(f"{told} names {len(missing):,} files that are not there ({examples(missing)})")
    report.used = sum(str(files.folder / name) in named for name in images)
    report.leave_out(f"named by no row of {told}", [name for name in images if str(files.folder / name) not in named])


def _main_paths(table: pa.Table, features: datasets.Features) -> list[str | None]:
    """Path of the image of each row."""
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not images:
        return [None] * len(table)
    column = table.column("image" if "image" in images else images[0]).to_pylist()
    return [None if value is None else value["path"] for value in column]


def _inner_name(files: Files, told: str, path: str | None) -> str:
    """Return the path of a row's image in the folder; beside the file of metadata if it is outside."""
    inner = ".." if path is None else os.path.relpath(path, files.folder)
    return str(PurePosixPath(told).parent / "image") if inner.startswith("..") else PurePosixPath(inner).as_posix()


def _named_paths(value: Any) -> set[str]:
    """Paths of all images in rows."""
    if isinstance(value, dict):
        if value.keys() == {"bytes", "path"}:
            return {os.path.normpath(value["path"])}
        value = list(value.values())
    return set().union(*map(_named_paths, value)) if isinstance(value, list) else set()


def _join(split: str, parts: list[tuple[pa.Table, datasets.Features]]) -> datasets.Dataset:
    features = parts[0][1]
    if any(other != features for _, other in parts):
        raise DataError(f"split {split!r}: its files of metadata have different columns; make them alike")
    return as_dataset(pa.concat_tables([table for table, _ in parts]), features)


def _declare(table: datasets.Dataset, declared: datasets.Features | None) -> datasets.Dataset:
    """The table with classes named as the data set's card does."""
    features = dict(table.features)
    content = table.data.table
    for name, feature in (declared or {}).items():
        stored = features.get(name)
        if not isinstance(feature, datasets.ClassLabel) or not isinstance(stored, datasets.Value):
            continue
        if stored.dtype == "string":
            values = [None if value is None else feature.str2int(value) for value in content.column(name).to_pylist()]
        elif "int" in stored.dtype:
            values = content.column(name).to_pylist()
        else:
            continue
        features[name] = feature
        content = content.set_column(content.column_names.index(name), name, pa.array(values, pa.int64()))
    return as_dataset(content, datasets.Features(features))


def as_dataset(table: pa.Table, features: datasets.Features) -> datasets.Dataset:
    """A table in memory with its columns described."""
    return datasets.Dataset(table.cast(features.arrow_schema), info=datasets.DatasetInfo(features=features))
