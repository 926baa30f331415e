"""TensorBoard writers of a trainer."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger


def tensorboard_writers(trainer: Trainer) -> list[Any]:
    """The TensorBoard writers of a run, none if it logs elsewhere; on rank 0 only, others write nothing."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
