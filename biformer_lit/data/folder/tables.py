"""Files of rows in a folder: Parquet, Arrow and tar files as splits, stored or as streams."""

import errno
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.iterable_dataset import ArrowExamplesIterable
from datasets.packaged_modules.webdataset.webdataset import WebDataset
from datasets.table import table_cast
from datasets.utils import tqdm

from biformer_lit.errors import DataError

_log = logging.getLogger(__name__)

SUFFIXES = (".parquet", ".arrow", ".tar")
"""What the names of files of rows end with."""

_MOST_IN_MEMORY = 2**31  # bytes of files whose rows are held in memory where there is no cache
_ROWS_AT_ONCE = 1000
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.EEXIST}


def require_regular(path: Path) -> None:
    """Refuse a file of rows that is a device or a pipe, which would never end or never begin.

    Raises:
        DataError: If it is no regular file, or not there.
    """
    if not path.is_file():
        problem = "is not a file" if path.exists() else "is a link to nothing"
        raise DataError(f"data.init_args.dataset: {str(path)!r} {problem}; remove or replace it")


def open_tables(paths: Sequence[Path], features: datasets.Features | None, streaming: bool) -> Any:
    """The rows of files of one kind, one after the other.

    Args:
        paths: The files.
        features: What the columns hold, as the data set's card says; by default as the first file does.
        streaming: Whether to read them as a stream, without a copy on the disk.

    Returns:
        ``datasets.Dataset`` or ``datasets.IterableDataset``.

    Raises:
        DataError: If a file is no regular file, or the cache cannot be written.
    """
    for path in paths:
        require_regular(path)
    if paths[0].suffix.lower() == ".tar":
        return _open_archives(paths, streaming)
    features = features or stored_features(paths[0])
    if streaming:
        names = [str(path) for path in paths]
        examples = ArrowExamplesIterable(read_rows, {"files": names, "features": features})
        return datasets.IterableDataset(examples, info=datasets.DatasetInfo(features=features))
    return datasets.concatenate_datasets([_stored(path, features) for path in paths])


def stored_features(path: Path) -> datasets.Features:
    """Return the features of the columns of a Parquet or Arrow file."""
    if path.suffix.lower() == ".parquet":
        return datasets.Features.from_arrow_schema(pq.read_schema(path))
    return datasets.Features.from_arrow_schema(_arrow_batches(path)[0])


def _arrow_batches(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Both layouts of Arrow's files."""
    try:
        stream = pa.ipc.open_stream(pa.memory_map(str(path)))
    except pa.ArrowInvalid:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        return file.schema, map(file.get_batch, range(file.num_record_batches))
    return stream.schema, iter(stream)


def _class_names(feature: Any) -> Iterator[list[str]]:
    """The names of all classes in a column, however deep they lie."""
    if isinstance(feature, datasets.ClassLabel):
        yield feature.names
    elif isinstance(feature, dict):
        for name in sorted(feature):
            yield from _class_names(feature[name])
    elif isinstance(feature, list):
        yield from _class_names(feature[0])
    elif (inner := getattr(feature, "feature", None)) is not None:
        yield from _class_names(inner)


def _require_same_classes(path: Path, features: datasets.Features) -> None:
    """Refuse a file that gives the numbers of classes another meaning."""
    for column, feature in stored_features(path).items():
        expected = features.get(column)
        own, others = list(_class_names(feature)), list(_class_names(expected))
        if own and others and own != others:
            raise DataError(
                f"{path}: column {column!r} numbers the classes otherwise than the first file of its split does; write "
                "the files of a split with the same ClassLabel"
            )


def read_rows(files: Sequence[str], features: datasets.Features) -> Iterator[tuple[Any, pa.Table]]:
    """Rows of Parquet or Arrow files, in pieces, each with a key of its own.

    Args:
        files: The files.
        features: What the columns hold.
    """
    for number, name in enumerate(files):
        path = Path(name)
        _require_same_classes(path, features)
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            rows = file.metadata.row_group(0).num_rows if file.metadata.num_row_groups else _ROWS_AT_ONCE
            batches = file.iter_batches(batch_size=max(1, min(rows, _ROWS_AT_ONCE)))
        else:
            batches = _arrow_batches(path)[1]
        for piece, batch in enumerate(batches):
            yield f"{number}_{piece}", table_cast(pa.Table.from_batches([batch]), features.arrow_schema)


def _stored(path: Path, features: datasets.Features) -> datasets.Dataset:
    """Rows that can be read in any order: an Arrow file in the cache, made of the file when it is first opened."""
    status = path.stat()
    identity = (str(path.resolve()), status.st_size, status.st_mtime_ns, str(features))
    folder = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / "biformer_lit_files"
    copy = folder / f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}.arrow"
    if not copy.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_copy(path, features, copy)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE or Path(error.filename or "") == path:
                raise
            return _in_memory(path, features, error)
    return datasets.Dataset.from_file(str(copy), info=datasets.DatasetInfo(features=features))


def _write_copy(path: Path, features: datasets.Features, copy: Path) -> None:
    handle, unfinished = tempfile.mkstemp(dir=copy.parent, suffix=".unfinished")
    os.close(handle)
    try:
        with pa.OSFile(unfinished, "wb") as sink, pa.ipc.new_stream(sink, features.arrow_schema) as writer:
            for _, table in tqdm(read_rows([str(path)], features), desc=f"Preparing {path.name}", unit=" pieces"):
                writer.write_table(table)
        Path(unfinished).replace(copy)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _in_memory(path: Path, features: datasets.Features, error: OSError) -> datasets.Dataset:
    cache = datasets.config.HF_DATASETS_CACHE
    if path.stat().st_size > _MOST_IN_MEMORY:
        raise DataError(
            f"the cache folder {str(cache)!r} cannot be written ({error.strerror}), and {path.name} is too large to be "
            "held in memory; set the environment variable HF_DATASETS_CACHE to a folder that can be written, or "
            "data.init_args.streaming: true"
        ) from error
    _log.warning(
        "the cache folder %r cannot be written (%s): the rows of %s are held in memory; set HF_DATASETS_CACHE to a "
        "folder that can be written",
        str(cache),
        error.strerror,
        path.name,
    )
    table = pa.concat_tables(
        [table for _, table in read_rows([str(path)], features)] or [features.arrow_schema.empty_table()]
    )
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


def _open_archives(paths: Sequence[Path], streaming: bool) -> Any:
    if awkward := next((path for path in paths if "::" in str(path)), None):
        raise DataError(f"data.init_args.dataset: {str(awkward)!r} has '::' in its path; rename it to read it as tar")
    names = datasets.data_files.DataFilesList(
        [str(path) for path in paths], [(str(path.stat().st_mtime_ns),) for path in paths]
    )
    files = datasets.data_files.DataFilesDict({"train": names})
    builder = WebDataset(data_files=files, dataset_name="tar_files")
    if streaming:
        return builder.as_streaming_dataset(split="train")
    builder.download_and_prepare()
    return builder.as_dataset(split="train")


def holds_images(path: Path) -> bool:
    """Return whether a file of rows may hold images, by its columns."""
    if PurePosixPath(path).suffix.lower() == ".tar":
        return True
    kinds = [str(kind) for kind in stored_features(path).arrow_schema.types]
    return any("binary" in kind for kind in kinds)
