"""A callback that spoils steps, for tests of what happens to them."""

from typing import Literal

from lightning.pytorch import Callback


class Poison(Callback):
    """Makes an image of some batches of the first epoch, or a gradient of their steps, infinite or no number.

    Args:
        batches: Which batches, from 0.
        where: What is spoilt.
        rank: In which process.
    """

    def __init__(self, batches: list[int], where: Literal["image", "gradient"] = "image", rank: int = 0) -> None:
        self.batches, self.where, self.rank = batches, where, rank
        self.rows = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self._hits(trainer, batch_idx) and self.where == "image":
            self.rows.append(batch["index"].tolist())
            batch["image"][1] = float("inf")

    def on_after_backward(self, trainer, pl_module):
        if self._hits(trainer, trainer.fit_loop.batch_idx) and self.where == "gradient":
            next(pl_module.net.parameters()).grad[0] = float("nan")

    def _hits(self, trainer, batch_idx):
        return trainer.current_epoch == 0 and batch_idx in self.batches and trainer.global_rank == self.rank
