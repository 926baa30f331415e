"""Output of ``save_to_disk``, read without the settings that only concern the display of rows."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from biformer_lit.data.folder.folder_files import Files, read_text
from biformer_lit.data.folder.tables import require_regular
from biformer_lit.errors import DataError

_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"
_MOST_BYTES = 2**26  # of a description; a thousand classes take a hundred kilobytes


def is_saved(folder: Path) -> bool:
    """Return whether ``save_to_disk`` wrote the folder."""
    return (folder / _DICT).exists() or (folder / _STATE).exists()


def open_saved(files: Files) -> dict[str, datasets.Dataset]:
    """The splits in a folder that ``save_to_disk`` wrote.

    Rows are taken as they are stored: whether they were to be shown as tensors, or only some of their columns, was
    left to the program that saved them.

    Args:
        files: Which files may be read.

    Raises:
        DataError: If a description does not fit, or names a file outside the folder.
    """
    if not (files.folder / _DICT).exists():
        table, split = _open(files, "")
        return {split: table}
    names = _read(files, _DICT).get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{files.folder / _DICT}: does not list the splits; save the data set again")
    return {name: _open(files, name)[0] for name in names}


def _read(files: Files, name: str) -> dict[str, Any]:
    path = Path(files.locate(name, str(files.folder)))
    try:
        content = json.loads(read_text(path, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is not JSON ({error}); save the data set again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: does not describe a data set; save it again")
    return content


def _open(files: Files, folder: str) -> tuple[datasets.Dataset, str]:
    prefix = f"{folder}/" if folder else ""
    state = _read(files, f"{prefix}{_STATE}")
    parts = [part.get("filename") for part in state.get("_data_files") or [] if isinstance(part, dict)]
    if not parts or not all(isinstance(name, str) for name in parts):
        raise DataError(f"{files.folder / prefix / _STATE}: lists no files; save the data set again")
    paths = [Path(files.locate(f"{prefix}{name}", str(files.folder / prefix / _STATE))) for name in parts]
    for path in paths:
        require_regular(path)
    info = datasets.DatasetInfo.from_dict(_read(files, f"{prefix}{_INFO}"))
    tables = [datasets.table.MemoryMappedTable.from_file(str(path)) for path in paths]
    try:
        table = datasets.Dataset(datasets.table.concat_tables(tables), info=info)
    except (ValueError, TypeError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{files.folder / prefix / _INFO}: does not fit the rows ({reason}); save the data set again"
        ) from error
    return table, str(state.get("_split") or "train")
