"""Batches of loaders that are no data module's of ours, in the form that tasks and callbacks work with."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from biformer_lit.errors import DataError

_TARGET = {"classes": "label", "maps": "mask", "objects": "objects"}


def as_named(batch: Any, predicts: Literal["classes", "maps", "objects"]) -> Any:
    """A batch as a dictionary, from what loaders commonly make.

    Args:
        batch: A dictionary, which is left as it is but for a missing ``size`` of maps; images and targets as a pair;
            images alone, also as the only entry of a tuple. None, which Lightning passes over, stays None.
        predicts: What the task predicts; targets are labels (N,) or maps (N, H, W) or (N, 1, H, W).

    Raises:
        DataError: If it is none of these.
    """
    if batch is None:
        return None
    if not isinstance(batch, Mapping):
        parts = [batch] if isinstance(batch, Tensor) else list(batch) if isinstance(batch, tuple | list) else []
        if predicts == "objects" or not 1 <= len(parts) <= 2 or not all(isinstance(part, Tensor) for part in parts):
            wanted = "" if predicts == "objects" else f", or (image, {_TARGET[predicts]}) as tensors"
            raise DataError(
                f"a batch is {_described(batch)}; have the loader give a dictionary as this package's data modules do"
                f"{wanted}"
            )
        batch = dict(zip(("image", _TARGET[predicts]), parts, strict=False))
        if "mask" in batch:
            mask = batch["mask"]
            batch["mask"] = (mask[:, 0] if mask.ndim == 4 else mask).long()
    if predicts == "maps" and "image" in batch and "size" not in batch:
        image = batch["image"]
        batch = {**batch, "size": torch.tensor(image.shape[-2:], device=image.device).expand(len(image), 2)}
    return batch


def _described(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)} ({', '.join(type(part).__name__ for part in batch[:4])})"
    return f"of type {type(batch).__name__}"


def is_empty(batch: Mapping[str, Any]) -> bool:
    """Whether a batch holds no image, as one has of which a loader could read none."""
    return "image" not in batch or len(batch["image"]) == 0


def target_of(batch: Mapping[str, Any], predicts: Literal["classes", "maps", "objects"]) -> Any:
    """The targets of a batch.

    Raises:
        DataError: If it has none.
    """
    name = _TARGET[predicts]
    if name not in batch:
        raise DataError(f"a batch has no {name!r} (it has {', '.join(map(str, batch))}); training and scores need it")
    return batch[name]
