"""Tasks from their checkpoints, outside the command line."""

from pathlib import Path

from biformer_lit.backbone.weights import read_checkpoint
from biformer_lit.classification.classification_task import ClassificationTask
from biformer_lit.detection.detection_task import DetectionTask
from biformer_lit.errors import CheckpointError
from biformer_lit.segmentation.segmentation_task import SegmentationTask
from biformer_lit.tasks.restore import restore
from biformer_lit.tasks.saved_settings import class_name
from biformer_lit.tasks.template import BiFormerTask

_KNOWN: tuple[type[BiFormerTask], ...] = (ClassificationTask, SegmentationTask, DetectionTask)


def known_task(name: str) -> type[BiFormerTask] | None:
    """The task of ours that an import path of this or an earlier version names, or None; nothing is imported."""
    module, _, called = name.rpartition(".")
    if module and module.partition(".")[0] != "biformer_lit":
        return None
    return next((task for task in _KNOWN if task.__name__ == called), None)


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
