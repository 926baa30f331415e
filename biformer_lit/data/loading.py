"""Find and open a data set, and recognise its splits."""

import re
from pathlib import Path
from typing import Any, Literal

import datasets
import pyarrow as pa

from biformer_lit.data.digits import load_digits_dataset
from biformer_lit.data.scenes import SCENES, Scenes, load_scenes
from biformer_lit.errors import ConfigError, DataError

DIGITS = "digits"
EMBEDDED = (DIGITS, SCENES)
"""Data sets that come with the package."""

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
_DEFAULT_SCENES = Scenes()
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def load_splits(
    dataset: str,
    config_name: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    scenes: Scenes = _DEFAULT_SCENES,
) -> dict[str, Any]:
    """Open all splits of a data set.

    What exists on disk is local and never causes a look-up on the Hugging Face hub. A name that starts like
    a path (``/``, ``./``, ``../``, ``~``) is a path even if nothing is there.

    Args:
        dataset: ``digits`` or ``digit_scenes`` (embedded), a local folder (Parquet files, images in class
            folders, or what ``save_to_disk`` wrote), or the id of a data set on the hub.
        config_name: Configuration of the data set, where it has several.
        revision: Branch, tag or commit of a data set on the hub.
        streaming: Open as ``datasets.IterableDataset``, without preparing a copy on disk.
        scenes: What the scenes of ``digit_scenes`` look like.

    Returns:
        ``datasets.Dataset`` (or ``datasets.IterableDataset``) by split name.

    Raises:
        DataError: If there is no such data set, or it cannot be opened; the message says what to do.
    """
    if dataset in EMBEDDED:
        splits: dict[str, Any] = dict(load_digits_dataset() if dataset == DIGITS else load_scenes(scenes))
        return {name: _stream(table) for name, table in splits.items()} if streaming else splits
    path = Path(dataset).expanduser()
    if path.exists():
        return _load_local(path, config_name, streaming)
    if re.match(r"[/\\~.]|[A-Za-z]:[/\\]", dataset) or not _HUB_ID.fullmatch(dataset):
        raise DataError(
            f"data.init_args.dataset: the folder {str(path)!r} does not exist (seen from "
            f"{str(Path.cwd())!r}); give a folder with Parquet files or images, the id of a data set on the "
            f"Hugging Face hub, or {' or '.join(map(repr, EMBEDDED))}"
        )
    return _load_hub(dataset, config_name, revision, streaming)


def _stream(table: datasets.Dataset) -> datasets.IterableDataset:
    # as many shards as allow most numbers of processes and workers to share the work evenly
    return table.to_iterable_dataset(num_shards=max(1, min(48, len(table))))


def _load_local(path: Path, config_name: str | None, streaming: bool) -> dict[str, Any]:
    if not path.is_dir():
        raise DataError(f"data.init_args.dataset: {str(path)!r} is a file; give the folder that holds it")
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            loaded = datasets.load_from_disk(str(path))
            if isinstance(loaded, datasets.Dataset):
                loaded = {str(loaded.split or "train"): loaded}
            return {name: _stream(table) for name, table in loaded.items()} if streaming else dict(loaded)
        return dict(datasets.load_dataset(str(path.resolve()), name=config_name, streaming=streaming))
    except LOADING_ERRORS as error:
        raise DataError(
            f"data.init_args.dataset: the folder {str(path)!r} cannot be opened as a data set "
            f"({reason(error)}); it must hold Parquet files, none without rows, images in one folder per "
            "class, or the output of save_to_disk"
        ) from error


def _load_hub(name: str, config_name: str | None, revision: str | None, streaming: bool) -> dict[str, Any]:
    try:
        return dict(datasets.load_dataset(name, name=config_name, revision=revision, streaming=streaming))
    except LOADING_ERRORS as error:
        raise DataError(
            f"data.init_args.dataset: there is no folder {name!r} here, and the data set of that name "
            f"cannot be loaded from the Hugging Face hub ({reason(error)}); check the name, config_name, "
            "revision, the network and HF_HUB_OFFLINE, or download it elsewhere and give the folder"
        ) from error


def unreadable(where: str, error: BaseException) -> str:
    """The message about a stored row that ``datasets`` cannot give; ``where`` begins it."""
    return f"{where}: cannot be read as its columns are described ({reason(error)}); write the data set anew"


def reason(error: BaseException) -> str:
    """What went wrong within ``datasets``, short and on one line."""
    # datasets wraps the telling error ("column names don't match") into one that says nothing
    if isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def find_split(kind: Literal["train", "validation", "test"], given: str | None, names: list[str]) -> str | None:
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
            argument = {"train": "train_split", "validation": "val_split", "test": "test_split"}[kind]
            raise ConfigError(f"data.init_args.{argument}: no split {given!r}; the data set has {', '.join(names)}")
        return given
    return next((name for name in _SPLIT_NAMES.get(kind, ()) if name in names), None)
