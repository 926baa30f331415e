"""A task from its checkpoint, built only if what the file asks for is what it holds."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from biformer_lit.checkpoints.fitting import describe_misfit
from biformer_lit.checkpoints.saved_weights import SavedWeights
from biformer_lit.errors import BiFormerLitError, CheckpointError
from biformer_lit.extending import read_needed, require_plugins
from biformer_lit.tasks.saved_settings import own_text, taken_settings

if TYPE_CHECKING:
    from biformer_lit.tasks.template import BiFormerTask

Task = TypeVar("Task", bound="BiFormerTask")
_NET = "net."


def require_plugins_of(saved: SavedWeights) -> None:
    """Refuse a checkpoint whose network needs a plug-in that is not loaded.

    Raises:
        CheckpointError: With the plug-in to give.
    """
    require_plugins(read_needed(saved.said, saved.source), saved.where)


def restore(task_class: type[Task], saved: SavedWeights, **given: Any) -> Task:
    """A task with the weights and the settings that its checkpoint decides.

    Args:
        task_class: What to build, whatever class the file names.
        saved: The checkpoint.
        given: Arguments of the task that count instead of the checkpoint's.

    Raises:
        CheckpointError: If the file is from no training run, or its weights are not those of its settings.
    """
    made_by, settings = saved.made_by, saved.settings
    require_plugins_of(saved)
    defaults = inspect.signature(task_class).parameters
    for name, value in own_text(settings).items():
        if name not in given and name in defaults and defaults[name].default != value:
            raise CheckpointError(
                f"{saved.where}{name}={value!r} is text of a setting that this package does not know, which is not "
                f"taken from a file; pass it: load_from_checkpoint(path, {name}={value!r})"
            )
    arguments = taken_settings(settings, evaluation=True) | given
    try:
        task = task_class(**arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, BiFormerLitError):
            raise
        raise CheckpointError(
            f"{saved.where}was saved by {made_by!r}, whose settings are not those of {task_class.__name__} "
            f"({str(error).partition(':')[0]}); give a checkpoint of this task"
        ) from None
    check_size(task, saved.shapes, saved.source)
    task.configure_model()
    task.on_load_checkpoint(saved.entries)  # refuses weights that do not fit, in our words
    task.load_state_dict(saved.entries["state_dict"])
    return task


def check_size(task: "BiFormerTask", shapes: Mapping[str, tuple[int, ...]], path: str | Path) -> None:
    """Refuse settings that ask for another network than the weights beside them, before memory is taken for it.

    Args:
        task: The task with its settings, before its network is built.
        shapes: Shapes of the weights by name.
        path: The checkpoint's file, for messages.

    Raises:
        CheckpointError: If the network would have other weights.
    """
    if task.num_classes is None or hasattr(task, "net"):
        return
    try:
        net = None if _deeper_than(task, len(shapes)) else _without_memory(task)
    except BiFormerLitError:
        raise
    except Exception as error:  # noqa: BLE001  # a user's own network may not be buildable without memory
        if _is_ours(task):
            raise CheckpointError(f"{path}: holds settings that no network can be built from ({error})") from None
        return
    if net is None:
        raise CheckpointError(f"{path}: its settings ask for more blocks than it holds tensors; they are not its own")
    own = {f"{_NET}{key}": tuple(value.shape) for key, value in net.state_dict().items()}
    # a user's own class may have weights besides its network's
    held = {key: shape for key, shape in shapes.items() if _is_ours(task) or key.startswith(_NET)}
    if problem := describe_misfit(own, held):
        raise CheckpointError(f"{path}: {problem}; give the checkpoint of this model")


def _is_ours(task: "BiFormerTask") -> bool:
    return type(task).__module__.startswith("biformer_lit.")


def _deeper_than(task: "BiFormerTask", tensors: int) -> bool:
    """Return whether a backbone has more blocks than this; as modules they take long, even without weights."""
    return sum(task.backbone.depths or ()) > tensors


def _without_memory(task: "BiFormerTask") -> nn.Module:
    with torch.device("meta"):
        return task.build_net(task.num_classes or 0)
