"""Tasks from their checkpoints, outside the command line."""

from pathlib import Path

from biformer_lit.backbone.weights import read_checkpoint
from biformer_lit.errors import CheckpointError
from biformer_lit.kinds import KINDS
from biformer_lit.tasks.restore import restore
from biformer_lit.tasks.saved_settings import class_name
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
    contents = read_checkpoint(path)
    task_class = known_task(class_name(contents, path))
    if task_class is None:
        raise CheckpointError(
            f"{path}: was made by a task that is none of this version's; update biformer_lit, or call "
            "load_from_checkpoint of the task of your own that made it"
        )
    return restore(task_class, contents, path).eval()
