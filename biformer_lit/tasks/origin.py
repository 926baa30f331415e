"""What a file of weights says of the network that they are from: its classes, and how images were prepared for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from biformer_lit.backbone.weights import read_checkpoint
from biformer_lit.data.preprocessing import present_form
from biformer_lit.errors import CheckpointError


@dataclass(frozen=True)
class Origin:
    """What is known of weights beside their numbers.

    Attributes:
        source: The file, for messages.
        class_names: Names of the classes in the network's order; empty if nothing names them.
        num_classes: How many there are; None if it is not said.
        preprocessing: How images were prepared, as a data module wrote it; None if it is not said.
        is_run: Whether the file is a checkpoint of a training run of ours.
    """

    source: str
    class_names: tuple[str, ...] = ()
    num_classes: int | None = None
    preprocessing: dict[str, Any] | None = None
    is_run: bool = False


def read_origin(path: str | Path) -> Origin:
    """What a file of weights says of itself.

    Args:
        path: A checkpoint of any kind, or safetensors.

    Raises:
        CheckpointError: If it cannot be read, or what it says makes no sense.
    """
    if Path(path).suffix == ".safetensors" and Path(path).is_file():
        return origin_of(_metadata(path), str(path))
    return origin_of(read_checkpoint(path), str(path))


def origin_of(contents: Mapping[str, Any], source: str) -> Origin:
    """What the contents of a checkpoint say; see :func:`read_origin`."""
    names, preprocessing = contents.get("class_names"), contents.get("preprocessing")
    settings = contents.get("hyper_parameters")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        if names is not None and not isinstance(names, Tensor):
            raise CheckpointError(f"{source}: its class_names are no list of names; save it again")
        names = ()
    is_run = isinstance(settings, dict) and "_class_path" in settings
    count = settings.get("num_classes") if isinstance(settings, dict) else None
    if not isinstance(count, int) or isinstance(count, bool):
        count = None
    return Origin(
        source,
        tuple(names),
        len(names) or count,
        present_form(preprocessing) if isinstance(preprocessing, dict) else None,
        is_run,
    )


def _metadata(path: str | Path) -> dict[str, Any]:
    """The entries that ``convert`` left in a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
        return {name: json.loads(metadata[name]) for name in ("class_names", "preprocessing") if name in metadata}
    except (SafetensorError, OSError, ValueError, RecursionError):
        return {}  # whoever loads the weights says what is wrong with the file
