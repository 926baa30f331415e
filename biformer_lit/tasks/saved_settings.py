"""Settings that a checkpoint decides, and those of the user: one table for the command line and for Python.

A file from somebody else may decide what its weights are, for they are its own. It decides nothing that changes no
weight: no file to read, no compiler, no kernel, and not how an evaluation is made.
"""

from collections.abc import Mapping
from typing import Any, Final

NETWORK: Final = (
    *("backbone", "num_classes", "timm_backbone"),
    *("head", "head_channels", "head_norm", "anchor_scale", "frozen_batch_norm"),
)
"""Settings that shape the weights, or say what the network computes with them. Taken from a checkpoint."""

TRAINING: Final = (
    *("optim", "mixing", "label_smoothing"),
    *("head_dropout", "auxiliary_weight", "class_weights"),
)
"""Settings that say how the weights go on changing. Taken from a checkpoint: a resumed run is the same run."""

EVALUATION: Final = ("inference", "score_threshold", "nms_threshold", "detections_per_image")
"""How predictions are made. They change no weight: on the command line what is typed or in the config counts. In
Python, where nothing else tells them, the checkpoint does."""

MACHINE: Final = (
    *("weights", "weights_copy", "compile", "grad_checkpointing"),
    *("backbone.backend", "optim.fused", "optim.on_bad_loss", "optim.on_extension"),
)
"""Files to read, how the machine computes, and what a resume is to do. Never taken from a checkpoint."""

TAKEN: Final = (*NETWORK, *TRAINING)


def taken_settings(hyper_parameters: Mapping[str, Any], *, evaluation: bool = False) -> dict[str, Any]:
    """The settings of a task that its checkpoint decides, as arguments of the task.

    Settings that are in no row of the table belong to a class of somebody's own. Their numbers are taken; text may name
    a file or code, and stays with whoever loads the checkpoint.

    Args:
        hyper_parameters: What the checkpoint holds under this name.
        evaluation: Whether it also decides how predictions are made.
    """
    kept: dict[str, Any] = {}
    for name, value in hyper_parameters.items():
        if not isinstance(name, str) or name.startswith("_") or name in MACHINE:
            continue
        if name in EVALUATION:
            if evaluation:
                kept[name] = value
        elif name in TAKEN:
            kept[name] = _without_fields(name, value)
        elif not _holds_text(value):
            kept[name] = value
    return kept


def left_settings(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the checkpoint's run used, change its figures, and are not taken on the command line."""
    evaluation = {name: hyper_parameters[name] for name in EVALUATION if name in hyper_parameters}
    return evaluation | own_text(hyper_parameters)


def own_text(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of somebody's own class that are never taken, for they hold text."""
    known = {*TAKEN, *EVALUATION, *MACHINE}
    own = {
        name: value
        for name, value in hyper_parameters.items()
        if isinstance(name, str) and not name.startswith("_") and name not in known
    }
    return {name: value for name, value in own.items() if _holds_text(value)}


def _without_fields(group: str, value: Any) -> Any:
    """A group of settings without those of its fields that are never taken."""
    if not isinstance(value, Mapping):
        return value
    return {field: one for field, one in value.items() if f"{group}.{field}" not in MACHINE}


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_text, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_text, value))
    return not (value is None or isinstance(value, bool | int | float))
