"""Tasks from their checkpoints, outside the command line."""

from pathlib import Path

from biformer_lit.checkpoints.saved_weights import SavedWeights, read_weights
from biformer_lit.errors import CheckpointError
from biformer_lit.kinds import KINDS
from biformer_lit.tasks.restore import require_plugins_of, restore
from biformer_lit.tasks.template import BiFormerTask

_PACKAGE = "biformer_lit"


def known_task(name: str) -> type[BiFormerTask] | None:
    """The task of a registered kind that an import path names, or None; nothing is imported.

    A task of the package's own may be named by its path in an earlier version.
    """
    module, _, called = name.rpartition(".")
    for kind in KINDS.values():
        own = kind.task.__module__.partition(".")[0] == _PACKAGE
        same = module in ("", kind.task.__module__) or (own and module.partition(".")[0] == _PACKAGE)
        if same and called == kind.task.__name__:
            return kind.task
    return None


def import_path(task: type[BiFormerTask]) -> str:
    """The path under which a config names a task."""
    own = task.__module__.partition(".")[0] == _PACKAGE
    return f"{_PACKAGE}.{task.__name__}" if own else f"{task.__module__}.{task.__qualname__}"


def load_task(path: str | Path) -> BiFormerTask:
    """The task that a checkpoint of a training run holds, with the weights its figures belong to.

    Args:
        path: A ``.ckpt`` file.

    Returns:
        The task in evaluation mode, with ``class_names`` and ``preprocessing``, which
        :func:`biformer_lit.image_transform` makes a function from a photo to the network's input of:
        ``task.net(image_transform(task.preprocessing)(photo)[None])``. In checkpoints of version 0.1 it is None.

    Raises:
        CheckpointError: If the file cannot be read or is not from a training run of this package.
    """
    return task_of(read_weights(path))


def task_of(saved: SavedWeights) -> BiFormerTask:
    """Return the task of a checkpoint that was read; see :func:`load_task`."""
    task_class = known_task(saved.made_by)
    if task_class is None:
        require_plugins_of(saved)
        raise CheckpointError(
            f"{saved.where}was made by a task that is none of this version's; update biformer_lit, or call "
            "load_from_checkpoint of the task of your own that made it"
        )
    return restore(task_class, saved).eval()
