"""Lightning's ``BackboneFinetuning`` on tasks of ours: all but the classifier, or the backbone of a dense task."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning, BaseFinetuning
from torch import nn
from torch.optim import Optimizer

_MARK = "backbone"  # the entry of parameter groups that were added


class FinetuneBackbone(BackboneFinetuning):
    """The same callback for networks that are no attribute ``backbone`` of the task.

    Parameters that it unfreezes keep the weight decay and layer decay that ``optim`` gives them.
    """

    @property
    def state_key(self) -> str:
        """As in checkpoints of Lightning's own."""
        return BackboneFinetuning.__qualname__

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the groups of a resumed run."""
        BaseFinetuning.on_fit_start(self, trainer, pl_module)

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze the backbone; as Lightning does, BatchNorm keeps learning."""
        self.freeze(backbone_of(pl_module))

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        """Unfreeze the backbone in its epoch, and let its rate grow from then on."""
        task: Any = pl_module

        def add(modules: Any, optimizer: Optimizer, lr: float, **_: Any) -> None:
            self.make_trainable(modules)
            present = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            for group in task.optim.parameter_groups(task.net, lr):
                new = [parameter for parameter in group["params"] if id(parameter) not in present]
                if new:
                    optimizer.add_param_group({**group, "params": new, _MARK: group["lr"] / lr})

        self.unfreeze_and_add_param_group = add  # type: ignore[assignment, method-assign]  # static, so that super calls this one
        try:
            super().finetune_function(SimpleNamespace(backbone=backbone_of(pl_module)), epoch, optimizer)  # type: ignore[arg-type]
        finally:
            del self.unfreeze_and_add_param_group
        if epoch > self.unfreeze_backbone_at_epoch and self.previous_backbone_lr is not None:
            for group in optimizer.param_groups:  # Lightning has set the last of them alone
                if _MARK in group:
                    group["lr"] = self.previous_backbone_lr * group[_MARK]


def backbone_of(task: LightningModule) -> nn.ModuleList:
    """The modules with parameters that are no classifier's; of a dense task its backbone, without the heads."""
    net: Any = task.net
    inner = getattr(net, "backbone", None)
    if isinstance(inner, nn.Module):
        return nn.ModuleList([inner])
    classifier = set(net.get_classifier().modules())
    parts: Iterable[nn.Module] = BaseFinetuning.flatten_modules(net)
    return nn.ModuleList(part for part in parts if part not in classifier)


def unfreeze_again(trainer: Trainer) -> None:
    """Let parameters that the optimiser has be trained: a resumed run has frozen those it had unfrozen before."""
    if any(isinstance(callback, BaseFinetuning) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.requires_grad_(True)
