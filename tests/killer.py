"""A callback that ends its process as a power cut would, for tests of resuming."""

import os
import signal

from lightning.pytorch import Callback


class Killer(Callback):
    """SIGKILL to itself in the middle of an epoch.

    Args:
        epoch: In which epoch, from 0.
        batch: After which batch, from 0.
    """

    def __init__(self, epoch: int, batch: int) -> None:
        self.epoch = epoch
        self.batch = batch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            os.kill(os.getpid(), signal.SIGKILL)
