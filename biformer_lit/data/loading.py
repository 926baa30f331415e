"""Find and open a data set, and recognise its splits."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import datasets
import pyarrow as pa

from biformer_lit.data.folder import ClassFolder, Files, Splits, open_folder
from biformer_lit.data.folder.opening import stream
from biformer_lit.data.named_sets import SETS, load_named
from biformer_lit.errors import BiFormerLitError, ConfigError, DataError

_SPLIT_NAMES = {
    "validation": ("validation", "val", "valid", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
LOADING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    RuntimeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    pa.ArrowException,
    datasets.exceptions.DatasetsError,
)
"""What ``datasets`` raises on files, or descriptions of their columns, that are not sound."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def load_splits(
    dataset: str,
    config_name: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    options: Mapping[str, Any] | None = None,
    files_root: str | None = None,
    class_folder: ClassFolder | None = None,
) -> Splits:
    """Open all splits of a data set.

    What exists on disk is local: only files inside it are read, and nothing is looked up or fetched, whatever the files
    say. A name that starts like a path (``/``, ``./``, ``../``, ``~``) is a path even if nothing is there, and no
    character in it means anything else.

    Args:
        dataset: ``digits`` or ``digit_scenes`` (embedded), a local folder (Parquet files, images in class
            folders, or what ``save_to_disk`` wrote), or the id of a data set on the hub.
        config_name: Configuration of the data set, where it has several.
        revision: Branch, tag or commit of a data set on the hub.
        streaming: Open as ``datasets.IterableDataset``, without preparing a copy on disk.
        options: Arguments of what loads a data set of that name, such as ``scenes`` of ``digit_scenes``.
        files_root: A folder whose files may be read besides those in a local folder, if links or rows name them.
        class_folder: Which folder names the class where the images of a local folder lie in folders within folders.

    Returns:
        ``datasets.Dataset`` (or ``datasets.IterableDataset``) by split name, which files their rows may name, and
        what was found in a folder.

    Raises:
        DataError: If there is no such data set, or it cannot be opened; the message says what to do.
    """
    if dataset in SETS:
        return Splits(
            {name: _as(table, streaming, dataset) for name, table in load_named(dataset, options or {}).items()}
        )
    path = local_path(dataset)
    if path.exists():
        return _load_local(path, config_name, streaming, files_root, class_folder)
    if re.match(r"[/\\~.]|[A-Za-z]:[/\\]", dataset) or not _HUB_ID.fullmatch(dataset):
        raise DataError(
            f"data.init_args.dataset: the folder {str(path)!r} does not exist (seen from "
            f"{str(Path.cwd())!r}); give a folder with Parquet files or images, the id of a data set on the "
            f"Hugging Face hub, or {' or '.join(map(repr, SETS))}"
        )
    return _load_hub(dataset, config_name, revision, streaming)


def _as(table: Any, streaming: bool, dataset: str) -> Any:
    if not streaming and isinstance(table, datasets.IterableDataset):
        raise DataError(
            f"data.init_args.dataset: {dataset!r} is loaded as a stream; set data.init_args.streaming: true"
        )
    return stream(table) if streaming and isinstance(table, datasets.Dataset) else table


def local_path(dataset: str) -> Path:
    """The path that a data set's name means; ``~`` is the home folder unless something of that name is here."""
    return Path(dataset) if os.path.lexists(dataset) else Path(os.path.expanduser(dataset))  # noqa: PTH111 (never raises)


def _load_local(
    path: Path, config_name: str | None, streaming: bool, files_root: str | None, class_folder: ClassFolder | None
) -> Splits:
    if not path.is_dir():
        raise DataError(f"data.init_args.dataset: {str(path)!r} is a file; give the folder that holds it")
    try:
        return open_folder(path, config_name, streaming, files_root, class_folder)
    except BiFormerLitError:
        raise
    except LOADING_ERRORS as error:
        raise DataError(
            f"data.init_args.dataset: the folder {str(path)!r} cannot be opened as a data set "
            f"({reason(error)}); it must hold Parquet files, images in one folder per class, images with "
            "metadata.jsonl, or the output of save_to_disk"
        ) from error


def _load_hub(name: str, config_name: str | None, revision: str | None, streaming: bool) -> Splits:
    try:
        splits = Splits(datasets.load_dataset(name, name=config_name, revision=revision, streaming=streaming))
    except LOADING_ERRORS as error:
        raise DataError(
            f"data.init_args.dataset: there is no folder {name!r} here, and the data set of that name "
            f"cannot be loaded from the Hugging Face hub ({reason(error)}); check the name, config_name, "
            "revision, the network and HF_HUB_OFFLINE, or download it elsewhere and give the folder"
        ) from error
    splits.files = Files.of_hub()
    return splits


def unreadable(where: str, error: BaseException) -> str:
    """The message about a stored row that ``datasets`` cannot give; ``where`` begins it."""
    return f"{where}: cannot be read as its columns are described ({reason(error)}); write the data set again"


def reason(error: BaseException) -> str:
    """Return what went wrong within ``datasets``, short and on one line."""
    # datasets wraps the telling error ("column names don't match") into one that says nothing
    if isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def find_split(
    kind: Literal["train", "validation", "test", "predict"], given: str | None, names: list[str]
) -> str | None:
    """Name of the split to use as ``kind``.

    Args:
        kind: What the split is for.
        given: The name the user gave, if any.
        names: The splits there are.

    Returns:
        ``given`` if there is such a split, else the first usual name for ``kind`` among ``names``, else
        None.

    Raises:
        ConfigError: If ``given`` is not among ``names``.
    """
    if given is not None:
        if given not in names:
            argument = "val_split" if kind == "validation" else f"{kind}_split"
            raise ConfigError(f"data.init_args.{argument}: no split {given!r}; the data set has {', '.join(names)}")
        return given
    return next((name for name in _SPLIT_NAMES.get(kind, ()) if name in names), None)


def split_to_predict(names: list[str], given: str | None, test: str | None, validation: str | None) -> str:
    """Name of the split that ``predict`` takes: the only one, else the one to test on, else the one to validate on.

    Args:
        names: The splits there are.
        given: The name the user gave for it, if any.
        test: The name the user gave for the split to test on, if any.
        validation: The name the user gave for the split to validate on, if any.

    Raises:
        ConfigError: If one of the names that count is not among ``names``.
        DataError: If there are several splits, and none to test or to validate on.
    """
    if given is not None or len(names) == 1:
        return find_split("predict", given, names) or names[0]
    split = find_split("test", test, names) or find_split("validation", validation, names)
    if split is None:
        raise DataError(
            f"data.init_args.predict_split: which split is to be predicted? there are {', '.join(names)}; name one"
        )
    return split
