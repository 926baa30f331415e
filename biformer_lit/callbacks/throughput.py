"""Speed of training."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs ``train/images_per_second`` of every epoch, over all processes.

    The clock runs from the end of the first batch to the end of the last, data loading included, validation
    and the first batch's start-up excluded.
    """

    def __init__(self) -> None:
        self.started = 0.0
        self.images = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch."""
        if self.started == 0.0:
            self.started = time.perf_counter()
        else:
            self.images += len(batch["image"])
        self.ended = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock."""
        self.started, self.images = 0.0, 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's rate, if it had two batches to measure between."""
        if self.images:
            rate = self.images / max(self.ended - self.started, 1e-9)
            pl_module.log("train/images_per_second", rate, sync_dist=True, reduce_fx="sum")
