"""Open a folder as splits: what kind of data set it is, and which of its files make rows."""

from pathlib import Path, PurePosixPath
from typing import Any

import datasets

from biformer_lit.data.folder.card import Card, match_files, read_card
from biformer_lit.data.folder.class_folder import ClassFolder, image_suffixes, image_tables
from biformer_lit.data.folder.folder_files import Files, Listing, list_files
from biformer_lit.data.folder.folder_report import FolderReport, Splits, by_suffix, examples
from biformer_lit.data.folder.metadata import is_metadata
from biformer_lit.data.folder.saved import is_saved, open_saved
from biformer_lit.data.folder.splits import divide_shards
from biformer_lit.data.folder.tables import SUFFIXES, holds_images, open_tables, require_regular
from biformer_lit.errors import DataError

# files that only describe a data set
_DESCRIPTIONS = {
    "readme",
    "license",
    "licence",
    "notice",
    "citation",
    "changelog",
    "id2label.json",
    "dataset_infos.json",
}
_DESCRIPTIONS |= {"dataset_info.json", "config.json", "checksums.txt", "classes.txt"}


def open_folder(
    folder: Path,
    config_name: str | None = None,
    streaming: bool = False,
    files_root: str | None = None,
    class_folder: ClassFolder | None = None,
) -> Splits:
    """Open a folder as a data set; only files inside it are read.

    Args:
        folder: The folder.
        config_name: Configuration that the card names, where it has several.
        streaming: Open as ``datasets.IterableDataset``, without preparing a copy on disk.
        files_root: A folder whose files may be read too, if links or rows name them.
        class_folder: Which folder names the class where images lie in folders within folders.

    Raises:
        DataError: If it holds no data set, or one that cannot be read.
        ConfigError: If there is no such configuration.
    """
    files = Files.of_folder(folder, files_root)
    if is_saved(files.folder):
        splits = Splits(_stream_all(open_saved(files)) if streaming else open_saved(files))
    else:
        splits = _open_files(files, read_card(files.folder, config_name), streaming, class_folder)
    splits.files = files
    return splits


def stream(table: datasets.Dataset) -> datasets.IterableDataset:
    """A stored split as a stream, in as many shards as let most numbers of processes and workers share it evenly."""
    return table.to_iterable_dataset(num_shards=max(1, min(48, len(table))))


def _stream_all(tables: dict[str, datasets.Dataset]) -> dict[str, Any]:
    return {name: stream(table) for name, table in tables.items()}


def _open_files(files: Files, card: Card, streaming: bool, class_folder: ClassFolder | None) -> Splits:
    listing = list_files(files)
    names = [name for name in listing.names if not _describes(name)]
    if card.folder is not None:
        names = match_files(names, [card.folder])
    _require_inside(files, listing)
    kind = _kind(files, names)
    report = FolderReport(kind)
    groups = _groups(files, card, names, report)
    if kind == "images":
        report.leave_out("hidden", listing.hidden)
        tables = image_tables(files, groups, report, class_folder, card.features)
        splits = Splits(_stream_all(tables) if streaming else tables)
    else:
        splits = Splits(_open_shards(files, groups, kind, card.features, streaming, report))
    splits.report = report
    return splits


def _describes(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.lower() in _DESCRIPTIONS or (
        path.stem.lower() in _DESCRIPTIONS and path.suffix in {"", ".md", ".txt"}
    )


def _kind(files: Files, names: list[str]) -> str:
    """Return what makes the rows: ``images``, or files that end with one of ``SUFFIXES``."""
    images = image_suffixes()
    counts = {
        suffix: [name for name in names if _suffix(name) == suffix and not is_metadata(name)] for suffix in SUFFIXES
    }
    suffix = max(SUFFIXES, key=lambda suffix: len(counts[suffix]))
    found = any(_suffix(name) in images or is_metadata(name) for name in names)
    if counts[suffix]:
        first = files.folder / counts[suffix][0]
        require_regular(first)
        if not found or holds_images(first):
            return suffix
    if found:
        return "images"
    kinds = [f"{len(others)} {reason} ({examples(others)})" for reason, others in by_suffix(names).items()]
    raise DataError(
        f"data.init_args.dataset: the folder {str(files.folder)!r} cannot be opened as a data set (it holds "
        f"{', '.join(kinds[:4]) or 'no files'}); it must hold Parquet files, images in one folder per class, images "
        "with metadata.jsonl, or the output of save_to_disk"
    )


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _require_inside(files: Files, listing: Listing) -> None:
    wanted = {*image_suffixes(), *SUFFIXES}
    leading = [name for name in listing.outside if _suffix(name) in wanted or is_metadata(name)]
    if leading:
        raise DataError(
            f"data.init_args.dataset: {len(leading)} files are links that lead out of {str(files.folder)!r}, of which "
            f"only files inside are read ({examples(leading)}); {files.remedy}"
        )


def _groups(files: Files, card: Card, names: list[str], report: FolderReport) -> dict[str | None, list[str]]:
    """The files of each split as the card has them; under None if it leaves that to their names."""
    if card.patterns is None:
        return {None: names}
    groups: dict[str | None, list[str]] = {}
    for split, patterns in card.patterns.items():
        groups[split] = match_files(names, patterns)
        if not groups[split]:
            raise DataError(
                f"{files.folder / 'README.md'}: no file of the folder is one of those of its split {split!r} "
                f"({examples(patterns)}); correct the card or remove it"
            )
    matched = {name for group in groups.values() for name in group}
    report.leave_out("of no split in README.md", [name for name in names if name not in matched])
    return groups


def _open_shards(
    files: Files,
    groups: dict[str | None, list[str]],
    suffix: str,
    features: datasets.Features | None,
    streaming: bool,
    report: FolderReport,
) -> dict[str, Any]:
    divided: dict[str, list[str]] = {}
    for given, names in groups.items():
        shards = [name for name in names if _suffix(name) == suffix]
        for reason, others in by_suffix([name for name in names if name not in set(shards)]).items():
            report.leave_out(reason, others)
        splits, unnamed, missing = divide_shards(shards)
        report.leave_out("named like no split, beside others that are", unnamed if given is None else [])
        report.remarks.extend(missing)
        divided.update(splits if given is None else {given: shards})
    report.used = sum(map(len, divided.values()))
    return {
        split: open_tables([files.folder / name for name in names], features, streaming)
        for split, names in divided.items()
    }
