"""Exponential moving average of the weights, with a warm-up."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from biformer_lit.errors import ConfigError


def warmup_decay(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The average's update, with the decay ``min(decay, (1 + n) / (10 + n))`` after n updates.

    Without the warm-up a short run's average is mostly the initial weights: with 0.9999 and 48 steps it scored
    0.59 where the weights themselves scored 0.96.
    """

    def update(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        if not average.is_floating_point():  # BatchNorm's batch counter
            return current
        n = float(updates)
        return torch.lerp(average, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update


class EMA(WeightAveraging):
    """Validate, test and save with the average of the weights over training, BatchNorm's statistics included.

    Checkpoints hold both: the average as ``state_dict``, the weights under training as
    ``current_model_state``.

    Args:
        decay: Weight of the old average in each update once warmed up: 0.99996 in the released recipe.

    Raises:
        ConfigError: If ``decay`` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.9999) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"EMA decay={decay} must be above 0 and below 1; 0.9999 suits long runs")
        super().__init__(avg_fn=warmup_decay(decay))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the average; the network is built for it here, which is meant."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*WeightAveraging callback with a model that overrides.*")
            super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore both copies to train on; evaluation has the average already, as the checkpoint's weights."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
