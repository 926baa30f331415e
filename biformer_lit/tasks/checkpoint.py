"""Tasks from their checkpoints, outside the command line."""

from pathlib import Path
from typing import Any

from biformer_lit.backbone.weights import read_checkpoint
from biformer_lit.errors import CheckpointError
from biformer_lit.tasks.base import BiFormerTask
from biformer_lit.tasks.classification import ClassificationTask
from biformer_lit.tasks.detection import DetectionTask
from biformer_lit.tasks.segmentation import SegmentationTask

_KNOWN: tuple[type[BiFormerTask], ...] = (ClassificationTask, SegmentationTask, DetectionTask)
_TASKS = {task.__name__: task for task in _KNOWN}


def load_task(path: str | Path) -> BiFormerTask:
    """The task that a checkpoint of a training run holds, with the weights its figures belong to.

    Args:
        path: A ``.ckpt`` file.

    Returns:
        The task in evaluation mode: ``load_task(path).net(images)``, with ``class_names``.

    Raises:
        CheckpointError: If the file cannot be read or is not from a training run of this package.
    """
    contents = read_checkpoint(path)
    check_is_task(contents, path)
    settings: dict[str, Any] = dict(contents["hyper_parameters"])
    task_class = _TASKS.get(str(settings.pop("_class_path", "ClassificationTask")).rpartition(".")[2])
    if task_class is None:
        raise CheckpointError(f"{path}: was made by a task this version does not have; update biformer_lit")
    arguments = {key: value for key, value in settings.items() if not key.startswith("_")}
    task = task_class(**{**arguments, "weights": None, "compile": False})
    task.configure_model()
    task.on_load_checkpoint(contents)  # refuses weights that do not fit, in our words
    task.load_state_dict(contents["state_dict"])
    return task.eval()


def check_is_task(contents: dict[str, Any], path: str | Path) -> None:
    """Refuse a file that is no checkpoint of a training run.

    Raises:
        CheckpointError: Naming the file and the right door for weights alone.
    """
    settings = contents.get("hyper_parameters")
    if "state_dict" not in contents or not isinstance(settings, dict) or "_class_path" not in settings:
        raise CheckpointError(
            f"{path}: is not a checkpoint of a training run of this package, so it cannot be resumed; "
            "to use its weights set model.init_args.weights instead"
        )
