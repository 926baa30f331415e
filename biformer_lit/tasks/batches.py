"""Batches of loaders that are no data module's of ours, in the form that tasks and callbacks work with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from biformer_lit.errors import DataError
from biformer_lit.kinds import Kind

if TYPE_CHECKING:
    from biformer_lit.tasks.template import BiFormerTask

_TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def as_named(batch: Any, kind: Kind) -> Any:
    """A batch as a dictionary, from what loaders commonly make.

    Args:
        batch: A dictionary, which is left as it is but for what the kind completes; images and targets as a pair;
            images alone, also as the only entry of a tuple. None, which Lightning passes over, stays None.
        kind: Kind of the task.

    Raises:
        DataError: If it is none of these.
    """
    if batch is None:
        return None
    if not isinstance(batch, Mapping):
        parts = [batch] if isinstance(batch, Tensor) else list(batch) if isinstance(batch, tuple | list) else []
        if not kind.pairs or not 1 <= len(parts) <= 2 or not all(isinstance(part, Tensor) for part in parts):
            wanted = f", or (image, {kind.target}) as tensors" if kind.pairs else ""
            raise DataError(
                f"a batch is {_described(batch)}; have the loader give a dictionary as this package's data modules do"
                f"{wanted}"
            )
        batch = dict(zip(("image", kind.target), parts, strict=False))
    return batch if kind.complete is None else kind.complete(batch)


def _described(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)} ({', '.join(type(part).__name__ for part in batch[:4])})"
    return f"of type {type(batch).__name__}"


def is_empty(batch: Mapping[str, Any]) -> bool:
    """Return whether a batch holds no image, as one has of which a loader could read none."""
    return "image" not in batch or len(batch["image"]) == 0


def target_of(batch: Mapping[str, Any], kind: Kind) -> Any:
    """The targets of a batch.

    Raises:
        DataError: If it has none.
    """
    if kind.target not in batch:
        raise DataError(
            f"a batch has no {kind.target!r} (it has {', '.join(map(str, batch))}); training and scores need it"
        )
    return batch[kind.target]


def check_target(batch: Any, task: "BiFormerTask", data: Any) -> None:
    """Refuse targets of loaders of others that are no classes, while they are still on the CPU.

    Args:
        batch: A batch as its loader gave it.
        task: The task, with a trainer.
        data: The data module; one of ours has looked at its targets itself.

    Raises:
        DataError: If they cannot be learnt or measured.
    """
    check = task.row.check_target
    if check is None or getattr(data, "kind", None) is not None or task.trainer.state.fn == "predict":
        return
    if any(is_overridden(hook, one) for hook in _TRANSFER_HOOKS for one in (task, data) if one is not None):
        return  # which may make other targets of them
    named = as_named(batch, task.row)
    if isinstance(named, Mapping) and task.row.target in named:
        check(named[task.row.target], task)


def require_class_numbers(numbers: Any, classes: int | None, ignored: int | None = None) -> None:
    """Refuse class numbers of a batch that are none, before a device stumbles over them.

    Args:
        numbers: Integers of any shape on the CPU; anything else is passed over.
        classes: How many classes there are; None if that is not known.
        ignored: The number that stands for no class, if there is one.

    Raises:
        DataError: Naming the first one.
    """
    if not isinstance(numbers, Tensor) or numbers.device.type != "cpu" or numbers.is_floating_point():
        return
    if classes is None or not numbers.numel():
        return
    least, greatest = torch.aminmax(numbers)
    if int(least) >= 0 and int(greatest) < classes:
        return
    wrong = numbers[(numbers < 0) | (numbers >= classes)]
    wrong = wrong if ignored is None else wrong[wrong != ignored]
    if wrong.numel():
        raise DataError(
            f"a batch has the label {int(wrong.flatten()[0])}, but there are {classes} classes, numbered from 0 to "
            f"{classes - 1}; correct the labels that the loader gives, or set num_classes"
        )
