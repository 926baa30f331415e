"""Estimated duration of a training run on this machine, from a few of its steps."""

import itertools
import statistics
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

_STEPS = 8
_KEPT = ("accelerator", "precision", "limit_train_batches", "limit_val_batches", "accumulate_grad_batches")


class _Clock(Callback):
    """Notes when each batch is done."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.validation: list[float] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Note a training step."""
        self.train.append(time.perf_counter())

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Note a batch of validation."""
        self.validation.append(time.perf_counter())


def estimate_seconds(task: LightningModule, data: LightningDataModule, settings: Mapping[str, Any]) -> float:
    """Train a few steps on one device and extrapolate: epochs and validations, without start-up and checkpoints.

    Args:
        task: What would be trained; it has trained a few steps afterwards.
        data: The data.
        settings: Those of the trainer, complete.

    Returns:
        Seconds; infinite if nothing bounds the training.
    """
    clock = _Clock()
    trainer = Trainer(
        **{name: settings[name] for name in _KEPT if settings.get(name) is not None},
        devices=1,
        max_steps=_STEPS * (settings.get("accumulate_grad_batches") or 1),
        num_sanity_val_steps=3,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, datamodule=data)
    epochs = settings.get("max_epochs")
    if not isinstance(epochs, int) or epochs < 0:
        return float("inf")
    every = settings.get("check_val_every_n_epoch") or 1
    train = _pace(clock.train) * float(trainer.num_training_batches)
    validation = _pace(clock.validation) * sum(map(float, trainer.num_val_batches))
    return epochs * train + (epochs // every) * validation


def _pace(moments: list[float]) -> float:
    """Median time between batches; the first is warming up."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return statistics.median(gaps[1:] or gaps or [0.0])
