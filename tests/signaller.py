"""A callback that does something to its own process at a given place, for tests of what becomes of the run."""

import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

from lightning.pytorch import Callback

from biformer_lit.errors import DataError


class Signaller(Callback):
    """Sends signals to its process, or fails; writes into `validated.txt` after which steps there was a validation.

    Args:
        what: A signal's name, ``worker`` (SIGKILL to a data worker), ``error`` (the user's) or ``bug``.
        where: Before a batch of training (``train``) or ``validation``, or while a checkpoint is written (``save``).
        epoch: In which epoch, from 0; -1 for never.
        batch: Before which batch, from 0.
        rank: In which process.
        times: How many signals.
        group: To all processes of the group, as a scheduler does.
    """

    def __init__(
        self,
        what: str = "SIGTERM",
        where: str = "train",
        epoch: int = 1,
        batch: int = 1,
        rank: int = 0,
        times: int = 1,
        group: bool = False,
    ) -> None:
        self.what, self.where, self.place, self.times, self.group = what, where, (rank, epoch, batch), times, group

    def _act(self, trainer, where, batch):
        if where != self.where or (trainer.global_rank, trainer.current_epoch, batch) != self.place:
            return
        if self.what == "error":
            raise DataError("row 17 of 'train' cannot be read; remove it")
        if self.what == "bug":
            raise KeyError("a defect")
        if self.what == "worker":
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            return
        if self.group:  # by somebody else: to its data workers a process is not anybody
            command = ["sh", "-c", f"kill -s {self.what.removeprefix('SIG')} -- -{os.getpgid(0)}"]
            subprocess.run(command, check=True, start_new_session=True)
            return
        for _ in range(self.times):
            os.kill(os.getpid(), getattr(signal, self.what))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._act(trainer, "train", batch_idx)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self._act(trainer, "validation", batch_idx)

    def on_validation_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            with Path("validated.txt").open("a") as file:
                file.write(f"{trainer.global_step}\n")

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        self._act(trainer, "save", self.place[2])
