"""Exponential moving average of the weights, with a warm-up."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from biformer_lit.errors import ConfigError


def warmup_decay(decay: float, updates: int) -> float:
    """The decay after some updates: ``min(decay, (1 + n) / (10 + n))``.

    Without the warm-up a short run's average is mostly the initial weights: with 0.9999 and 48 steps it scored 0.59
    where the weights themselves scored 0.96.
    """
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def _update(average: list[Tensor], current: list[Tensor], updates: Tensor | int, *, decay: float) -> None:
    if average[0].is_floating_point():
        torch._foreach_lerp_(average, current, 1 - warmup_decay(decay, int(updates)))
    else:  # BatchNorm's batch counter
        torch._foreach_copy_(average, current)


def warmup_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """The update of the average, in place and for all tensors at once; it can be pickled, for ``ddp_spawn``."""
    return partial(_update, decay=decay)


class EMA(WeightAveraging):
    """Average of the weights over training, BatchNorm's statistics included.

    A checkpoint holds both, the evaluated weights as ``state_dict``: with ``evaluate: average`` the weights under
    training are ``current_model_state``, with ``evaluate: raw`` the average is ``averaged_model_state``.

    Args:
        decay: Weight of the old average in each update once warmed up: 0.99996 in the released recipe.
        evaluate: Which weights are validated, chosen as best, and left in the model at the end: the ``average``, or
            the ``raw`` weights, as the released code does, which keeps an average and never evaluates it.

    Raises:
        ConfigError: If ``decay`` is not between 0 and 1, or ``evaluate`` is unknown.
    """

    def __init__(self, decay: float = 0.9999, evaluate: Literal["average", "raw"] = "average") -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"EMA decay={decay} must be above 0 and below 1; 0.9999 suits long runs")
        if evaluate not in ("average", "raw"):
            raise ConfigError(f"EMA evaluate={evaluate!r} is unknown; use 'average' or 'raw'")
        super().__init__(multi_avg_fn=warmup_average(decay))
        self.evaluate_raw = evaluate == "raw"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the average; the network is built for it here, which is meant."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*WeightAveraging callback with a model that overrides.*")
            super().setup(trainer, pl_module, stage)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the model, if that is what is evaluated."""
        if not self.evaluate_raw:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights under training back."""
        if not self.evaluate_raw:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the evaluated weights in the model."""
        if not self.evaluate_raw:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save both copies, the evaluated one as ``state_dict``."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self.evaluate_raw and "current_model_state" in checkpoint:
            checkpoint["averaged_model_state"] = checkpoint["state_dict"]
            checkpoint["state_dict"] = checkpoint.pop("current_model_state")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore both copies to train on; evaluation has the right one already, as the checkpoint's weights."""
        if trainer.state.fn != "fit":
            return
        if "averaged_model_state" in checkpoint:
            checkpoint = {
                **checkpoint,
                "state_dict": checkpoint["averaged_model_state"],
                "current_model_state": checkpoint["state_dict"],
            }
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
