"""Optimiser of all tasks, whose rate follows the run, whatever callbacks and resumes change."""

from dataclasses import asdict, replace

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from biformer_lit.seams.lightning_seams import begin_next_epoch_rightly, is_filling_statistics
from biformer_lit.seams.torch_seams import unscale_before_clipping
from biformer_lit.tasks.building import BuildNetwork
from biformer_lit.tasks.finetuning import unfreeze_again
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.training_plan import catch_up, follow_plan, global_batch


class TrainedModule(LightningModule):
    """A module with a network, trained as ``optim`` says.

    Attributes:
        net: The network, under timm's contract.
        optim: The optimiser and its schedule.
    """

    net: nn.Module
    optim: Optimization

    def __init__(self) -> None:
        super().__init__()
        self._builder: BuildNetwork | None = None

    def configure_callbacks(self) -> list[Callback]:
        """Have the network built before callbacks look for its parameters; adds nothing else."""
        if self._builder is None:
            self._builder = BuildNetwork()
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        if self._builder not in callbacks:
            callbacks[:] = [self._builder, *(one for one in callbacks if not isinstance(one, BuildNetwork))]
        return []

    @property
    def is_built(self) -> bool:
        """True if there is a network yet."""
        return "net" in self._modules

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser over timm's parameter groups, with a warm-up and a schedule set at every step."""
        lr = self.lr
        optimizer = self.optim.build(self.net, lr)
        if self.trainer.gradient_clip_val:
            # a fused optimiser would take the scale of 16-mixed out of the gradients itself, after they were clipped
            unscale_before_clipping(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": self.optim.build_schedule(optimizer, lr)}  # type: ignore[return-value]

    @property
    def lr(self) -> float:
        """The peak learning rate at the global batch; setting it, as ``LearningRateFinder`` does, sets ``optim.lr``."""
        return self.optim.scaled_lr(self._global_batch() or 1)

    @lr.setter
    def lr(self, value: float) -> None:
        self.optim = replace(self.optim, lr=value / (self.lr / self.optim.lr))
        self.hparams["optim"] = asdict(self.optim)  # so that a resumed run goes on with it

    def _global_batch(self) -> int | None:
        if self._trainer is None:
            return None
        return global_batch(self.trainer, self.trainer.accumulate_grad_batches)

    @property
    def is_searching(self) -> bool:
        """True if Lightning is trying out a learning rate or a batch, for which it takes all callbacks away."""
        if self._trainer is None:
            return False
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        return self._builder is not None and self._builder not in callbacks

    def on_train_start(self) -> None:
        """Refuse a run whose schedule cannot be known, before its first step; begin the right epoch."""
        catch_up(self)
        unfreeze_again(self.trainer)
        follow_plan(self, self.optim, silent=self.is_searching)
        begin_next_epoch_rightly(self.trainer)

    def on_train_epoch_start(self) -> None:
        """Follow callbacks that change the batch, or how many are accumulated."""
        if not is_filling_statistics(self.trainer):
            follow_plan(self, self.optim, silent=self.is_searching)
