"""Images of the training batches in TensorBoard."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.utils import make_grid

from biformer_lit.callbacks.tensorboard_writers import tensorboard_writers


def unnormalised(images: Tensor, trainer: Trainer) -> Tensor:
    """Images of a batch (N, C, H, W) before the run's data module normalised them: float32, on the CPU, 0 to 1."""
    data = getattr(trainer, "datamodule", None)
    mean, std = (torch.tensor(getattr(data, name, default)) for name, default in (("mean", 0.0), ("std", 1.0)))
    return (images.detach().float().cpu() * std.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)).clamp(0, 1)


class InputImages(Callback):
    """Draws the first training batch of every few epochs in TensorBoard, augmented and mixed as trained on.

    Args:
        count: Images in the grid.
        every_n_epochs: How often.
    """

    def __init__(self, count: int = 32, every_n_epochs: int = 10) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw the batch if it is the first of its turn."""
        if batch_idx or trainer.current_epoch % self.every_n_epochs or not trainer.is_global_zero:
            return
        if not len(batch["image"]):
            return
        grid = make_grid(unnormalised(batch["image"][: self.count], trainer), nrow=8, padding=1)
        for writer in tensorboard_writers(trainer):
            writer.add_image("train/images", grid, trainer.global_step)
