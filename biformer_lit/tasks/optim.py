"""The optimiser and its schedule, from a name and numbers.

A name and numbers rather than a class path, because a class path given in one config file keeps the
arguments of the class it replaces from another, and two cells of an ablation would differ in secret.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.optim import Muon, param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

from biformer_lit.errors import ConfigError
from biformer_lit.tasks.curve import Curve, OnExtension, Shape, warmup_cosine, warmup_linear, warmup_step
from biformer_lit.tasks.finite import OnBadLoss
from biformer_lit.tasks.schedule import Schedule

__all__ = ["Optimization", "warmup_cosine", "warmup_linear", "warmup_step"]


@dataclass(frozen=True)
class Optimization:
    """Settings of the optimiser. The defaults are the released ImageNet recipe.

    Args:
        name: adamw, or sgd with Nesterov momentum 0.9, or muon: the linear layers but the classifier are updated along
            their orthogonalised momentum (https://kellerjordan.github.io/posts/muon), in steps of the size that AdamW
            would take, everything else by AdamW. Muon learns faster where steps are few.
        lr: Learning rate at a global batch of lr_batch images.
        lr_batch: The batch that lr is meant for: the rate used is lr * global batch / lr_batch, where the
            global batch is batch_size * processes * accumulate_grad_batches. 0 uses lr as it stands.
        weight_decay: Weight decay; biases and normalisation have none.
        betas: AdamW's decay rates of the two moments.
        layer_decay: Factor on the learning rate from each layer to the one before it; 1 for none.
        warmup_epochs: Epochs over which the rate grows linearly; may be a fraction.
        warmup_steps: The same in optimiser steps; None counts warmup_epochs instead.
        warmup_lr: Rate of the first step.
        schedule: How the rate falls: cosine, linear (the polynomial schedule of power 1), or step, all counted from the
            first step.
        milestones: With step, the shares of the run after which the rate is divided by ten.
        min_lr: Rate that cosine and linear end at.
        on_extension: What a run does that is resumed with another max_epochs or max_steps: keep stays at its place in
            the schedule and spreads the rest over the steps that are left, so that a finished run stays at min_lr;
            replan goes where it would be had it been planned with this length, which may raise the rate at once;
            restart begins the schedule again, warm-up included, over the steps that are left.
        fused: Update all weights in one kernel; muon has none.
        on_bad_loss: What a step does whose loss or gradient is not finite: error ends the run and names the step and
            the rows; skip leaves the step out and counts it in train/skipped_steps; ignore does not look, which saves
            a GPU one wait a step. All rows of such steps are in bad_steps.jsonl in the run's folder.
    """

    name: Literal["adamw", "sgd", "muon"] = "adamw"
    lr: float = 5e-4
    lr_batch: int = 512
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    layer_decay: float = 1.0
    warmup_epochs: float = 5.0
    warmup_steps: int | None = None
    warmup_lr: float = 1e-6
    schedule: Shape = "cosine"
    milestones: tuple[float, ...] = (2 / 3, 11 / 12)
    min_lr: float = 1e-5
    on_extension: OnExtension = "keep"
    fused: bool = True
    on_bad_loss: OnBadLoss = "error"

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ConfigError: Naming the field.
        """
        object.__setattr__(self, "milestones", tuple(self.milestones))  # a list, from a checkpoint
        checks = (
            ("lr", self.lr > 0 and math.isfinite(self.lr), "above 0"),
            ("lr_batch", self.lr_batch >= 0, "at least 0 (0 turns scaling off)"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers of at least 0 and below 1"),
            ("layer_decay", 0 < self.layer_decay <= 1, "above 0 and at most 1"),
            ("warmup_epochs", self.warmup_epochs >= 0, "at least 0"),
            ("warmup_steps", self.warmup_steps is None or self.warmup_steps >= 0, "at least 0, or null"),
            ("warmup_lr", self.warmup_lr >= 0, "at least 0"),
            ("min_lr", self.min_lr >= 0, "at least 0"),
            ("milestones", all(0 < share < 1 for share in self.milestones), "shares of the run between 0 and 1"),
        )
        for field, good, allowed in checks:
            if not good:
                raise ConfigError(f"optim.{field}={getattr(self, field)} must be {allowed}")
        if self.name not in ("adamw", "sgd", "muon"):
            raise ConfigError(f"optim.name={self.name!r} is unknown; use 'adamw', 'sgd' or 'muon'")
        if self.on_bad_loss not in ("error", "skip", "ignore"):
            raise ConfigError(f"optim.on_bad_loss={self.on_bad_loss!r} is unknown; use 'error', 'skip' or 'ignore'")
        if self.on_extension not in ("keep", "replan", "restart"):
            raise ConfigError(f"optim.on_extension={self.on_extension!r} is unknown; use 'keep', 'replan' or 'restart'")
        if self.schedule not in ("cosine", "linear", "step"):
            raise ConfigError(f"optim.schedule={self.schedule!r} is unknown; use 'cosine', 'linear' or 'step'")

    def scaled_lr(self, global_batch: int) -> float:
        """The learning rate at this global batch."""
        return self.lr * global_batch / self.lr_batch if self.lr_batch else self.lr

    def build(self, net: nn.Module, lr: float) -> Optimizer:
        """The optimiser over ``net``, in timm's parameter groups.

        Args:
            net: The network, under timm's contract.
            lr: Peak learning rate.

        Returns:
            An optimiser whose groups hold their own peak rate.

        Raises:
            ConfigError: If the weights are in a precision that it cannot work with.
        """
        groups = self.parameter_groups(net, lr)
        halves = any(parameter.dtype == torch.float16 for group in groups for parameter in group["params"])
        if halves and (self.name == "muon" or (self.name == "adamw" and not self.fused)):
            field = "name='muon'" if self.name == "muon" else "fused=False"
            raise ConfigError(
                f"optim.{field} with trainer.precision=16-true would divide by zero, for AdamW's 1e-8 is 0 in float16; "
                "use 16-mixed or bf16-true"
            )
        if self.name == "sgd":
            return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=self.fused)
        if self.name == "muon":
            return Muon(groups, lr=lr, nesterov=True, betas=self.betas)  # type: ignore[no-any-return]
        return torch.optim.AdamW(groups, lr=lr, betas=self.betas, fused=self.fused)

    def parameter_groups(self, net: nn.Module, lr: float) -> list[dict[str, Any]]:
        """The parameters that are not frozen, as groups of an optimiser with their rate and weight decay.

        Args:
            net: The network, under timm's contract.
            lr: Peak learning rate.
        """
        exempt = net.no_weight_decay()  # type: ignore[operator]  # timm's contract
        if self.layer_decay < 1:
            groups = param_groups_layer_decay(net, self.weight_decay, exempt, layer_decay=self.layer_decay)
        else:
            groups = param_groups_weight_decay(net, self.weight_decay, exempt)
        for group in groups:
            group["lr"] = lr * group.pop("lr_scale", 1.0)
        if self.name == "muon":
            return [part for group in groups for part in _by_kind(group, net.get_classifier())]  # type: ignore[operator]
        return [dict(group) for group in groups]

    def build_schedule(
        self, optimizer: Optimizer, lr: float, length: Callable[[], tuple[float, float]] | None = None
    ) -> dict[str, Any]:
        """Linear warm-up and the schedule, set at every step; in the form Lightning expects.

        Args:
            optimizer: The optimiser.
            lr: Peak learning rate.
            length: Gives the steps of the whole run and of the warm-up; first asked after the first step. Tasks leave
                it out and tell the schedule themselves, once they know where a resumed run is:
                :meth:`biformer_lit.tasks.schedule.Schedule.follow`.
        """
        warms_up = bool(self.warmup_epochs if self.warmup_steps is None else self.warmup_steps)
        curve = Curve(self.schedule, self.milestones, self.warmup_lr, self.min_lr, warms_up, self.on_extension)
        return {"scheduler": Schedule(optimizer, curve, lr, length), "interval": "step"}


def _by_kind(group: dict[str, Any], classifier: nn.Module) -> list[dict[str, Any]]:
    """A group of parameters as one for Muon (matrices, but not the classifier's) and one for its AdamW."""
    last = {id(parameter) for parameter in classifier.parameters()}
    kinds: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for parameter in group["params"]:
        kinds[parameter.ndim != 2 or id(parameter) in last].append(parameter)
    return [{**group, "params": params, "use_fallback": other} for other, params in kinds.items() if params]
