"""Tables of the images in a folder: their paths, and what folders and metadata say of them."""

from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import datasets
import pyarrow as pa
from PIL import Image

from biformer_lit.data.folder.folder_files import Files
from biformer_lit.data.folder.folder_report import FolderReport, by_suffix, examples
from biformer_lit.data.folder.metadata import is_metadata
from biformer_lit.data.folder.splits import divide_images
from biformer_lit.data.folder.told import as_dataset, told_tables
from biformer_lit.data.images.decoding import known_formats
from biformer_lit.errors import DataError

ClassFolder = Literal["first", "last"]
"""Which of several folders between a split and an image is the class: the outermost or the innermost."""

_PHOTOS = {"images", "image", "imgs", "img", "jpegimages", "photos", "leftimg8bit"}
_MASKS = {"masks", "mask", "annotations", "labels", "label", "gt", "gtfine", "ground_truth", "groundtruth"}
_MASKS |= {"segmentationclass", "segmentationobject", "segmentationclassaug"}


def image_suffixes() -> set[str]:
    """Return the endings of the names of readable images."""
    Image.init()
    known = known_formats()
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in known}


class _Rows(NamedTuple):
    split: str
    paths: list[str]
    folders: list[tuple[str, ...]]


def image_tables(
    files: Files,
    groups: dict[str | None, list[str]],
    report: FolderReport,
    class_folder: ClassFolder | None = None,
    declared: datasets.Features | None = None,
) -> dict[str, datasets.Dataset]:
    """One row for each image, in the order of their paths, or for each row of metadata.

    Args:
        files: Which files may be read.
        groups: The files in the folder by their split; under None if folders say it.
        report: Where what is not used is entered.
        class_folder: Which folder names the class where images lie in folders within folders.
        declared: Columns as the data set's card describes them; of these only the names of classes count.

    Raises:
        DataError: If folders hold photos and masks apart, or metadata does not do.
    """
    suffixes = image_suffixes()
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    told = [name for name in names if is_metadata(name)]
    taken = {*told, *(name for name in names if PurePosixPath(name).suffix.lower() in suffixes)}
    others = [name for name in names if name not in taken]
    for reason, unused in by_suffix(others).items():
        report.leave_out(reason, unused)
    if told:
        return told_tables(
            files, groups, [name for name in names if name in taken and name not in told], report, declared
        )
    rows: dict[str, _Rows] = {}
    for given, members in groups.items():
        division = divide_images([name for name in members if name in taken])
        report.leave_out("beside the folders of the splits", division.loose)
        for split, found in division.splits.items():
            row = rows.setdefault(given or split, _Rows(given or split, [], []))
            row.paths.extend(str(files.folder / name) for name, _ in found)
            row.folders.extend(folders for _, folders in found)
    return _labelled_tables(files, list(rows.values()), others, report, class_folder, declared)


def _labelled_tables(
    files: Files,
    rows: list[_Rows],
    others: list[str],
    report: FolderReport,
    class_folder: ClassFolder | None,
    declared: datasets.Features | None,
) -> dict[str, datasets.Dataset]:
    report.used = sum(len(row.paths) for row in rows)
    _refuse_mask_folders(files, rows)
    report.unlabelled = _no_classes(rows, class_folder)
    pick = -1 if class_folder == "last" else 0
    classes = None
    if report.unlabelled is None:
        classes, report.class_folders = _classes(rows, pick, declared), True
        _tell_lost_classes(files, others, rows, report)
    return {row.split: _table(row, classes, pick) for row in rows}


def _refuse_mask_folders(files: Files, rows: list[_Rows]) -> None:
    tops = {folders[0] for row in rows for folders in row.folders if folders}
    tops |= {row.split for row in rows}
    photos = sorted(top for top in tops if top.lower() in _PHOTOS)
    masks = sorted(top for top in tops if top.lower() in _MASKS)
    if photos and masks:
        raise DataError(
            f"data.init_args.dataset: {str(files.folder)!r} holds photos ({photos[0]}) and label maps or annotations "
            f"({masks[0]}) in folders of their own, which do not say what belongs together; write metadata.jsonl with "
            f'lines {{"file_name": "{photos[0]}/1.jpg", "mask_file_name": "{masks[0]}/1.png"}} into it, or give '
            f"the folder {photos[0]} alone to predict"
        )


def _no_classes(rows: list[_Rows], class_folder: ClassFolder | None) -> str | None:
    """Return why folders name no classes; None if they do."""
    depths = {len(folders) for row in rows for folders in row.folders}
    if not depths or depths == {0}:
        return (
            "the images lie in no class folders; put those of each class into a folder of its name "
            "(train/cat/1.jpg), or write metadata.jsonl with file_name and label; predict needs neither"
        )
    if max(depths) > 1 and class_folder is None:
        path, folders = next(
            (path, folders)
            for row in rows
            for path, folders in zip(row.paths, row.folders, strict=True)
            if len(folders) > 1
        )
        name = "/".join((*folders, PurePosixPath(path).name))
        return (
            f"{name!r} lies in folders within folders, so that its class may be {folders[0]!r} or {folders[-1]!r}; set "
            "data.init_args.class_folder: first or last"
        )
    return None


def _classes(rows: list[_Rows], pick: int, features: datasets.Features | None) -> list[str]:
    found = {folders[pick] for row in rows for folders in row.folders if folders}
    declared = features.get("label") if features is not None else None
    if isinstance(declared, datasets.ClassLabel) and found <= set(declared.names or []):
        return list(declared.names)
    return sorted(found)


def _tell_lost_classes(files: Files, others: list[str], rows: list[_Rows], report: FolderReport) -> None:
    """Say which folders beside those of classes hold files, but no image that can be read."""
    filled = {PurePosixPath(path).parent for row in rows for path in row.paths}
    beside = {folder.parent for folder in filled}
    folders = {PurePosixPath(files.folder / name).parent for name in others} - filled
    if lost := sorted(folder.name for folder in folders if folder.parent in beside):
        report.remarks.append(f"no image can be read in {examples(lost)}")


def _table(rows: _Rows, classes: list[str] | None, pick: int) -> datasets.Dataset:
    features: dict[str, Any] = {"image": datasets.Image()}
    columns = {"image": _stored_paths(rows.paths)}
    if classes is not None:
        numbers = {name: number for number, name in enumerate(classes)}
        features["label"] = datasets.ClassLabel(names=classes)
        columns["label"] = pa.array(
            [numbers[folders[pick]] if folders else None for folders in rows.folders], pa.int64()
        )
    return as_dataset(pa.table(columns), datasets.Features(features))


def _stored_paths(paths: list[str]) -> pa.Array:
    return pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array(paths, pa.string())], ["bytes", "path"]
    )
