"""Names of the classes in pictures and files."""

from typing import Any

from lightning.pytorch import LightningModule


def class_names(pl_module: LightningModule) -> list[str]:
    """Names of a task's classes, their numbers if it knows none."""
    task: Any = pl_module
    return list(task.class_names) or [str(i) for i in range(int(task.num_classes))]
