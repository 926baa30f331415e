"""Steps whose loss or gradient is not finite: named and refused, or left out and counted, by all processes alike."""

import logging
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm

from biformer_lit.errors import DivergenceError
from biformer_lit.running.history import append_line

logger = logging.getLogger(__name__)
OnBadLoss: TypeAlias = Literal["error", "skip", "ignore"]
_IN_A_ROW = 20  # steps left out one after the other, after which nothing is learned any more
_SHOWN = 12  # rows in a message; all of them are in the file
FILE = "bad_steps.jsonl"
Found: TypeAlias = dict[int, list[tuple[float, list[int]]]]
"""For each rank, loss and rows of each of its batches since the last step whose loss is not finite."""


class FiniteSteps:
    """Watches the steps of one task.

    Gradients are judged rather than losses: after the processes have exchanged them, all have the same, so that all
    decide alike without a word more; whose loss it was is asked only when it has happened. Under ``16-mixed`` a
    gradient that overflows is left to the gradient scaler, which skips the step; there only losses count.

    Args:
        on_bad_loss: See :class:`biformer_lit.tasks.Optimization`.
    """

    def __init__(self, on_bad_loss: OnBadLoss) -> None:
        self.on_bad_loss = on_bad_loss
        self.skipped = 0
        self._in_a_row = 0
        self._rows: Tensor | None = None
        self._buffers: list[tuple[Tensor, Tensor]] = []  # and what they held before these batches
        self._losses: list[tuple[Tensor | None, Tensor]] = []  # rows and loss of the batches since the last step

    def begin_batch(self, net: nn.Module, batch: Any) -> None:
        """Note whose loss comes next and, for skip, BatchNorm's statistics, which change before there is a loss."""
        self._rows = batch.get("index") if isinstance(batch, dict) else None
        if self.on_bad_loss == "skip" and not self._losses:
            self._buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]

    def add_loss(self, loss: Tensor) -> None:
        """Note the loss of a batch."""
        if self.on_bad_loss != "ignore":
            self._losses.append((self._rows, loss.detach()))

    def judge(self, task: LightningModule) -> None:
        """Look at the gradients before they are used.

        Raises:
            DivergenceError: If they are not finite, and that is an error, or has happened too often in a row.
        """
        losses, self._losses = self._losses, []
        if self.on_bad_loss == "ignore" and not getattr(task, "is_searching", False):
            return
        with_gradient = [parameter for parameter in task.parameters() if parameter.grad is not None]
        if _all_finite(with_gradient, task.trainer):
            self._in_a_row = 0
            return
        scaled = getattr(task.trainer.precision_plugin, "scaler", None) is not None
        found = _gather({task.global_rank: _of_bad_losses(losses)}, task.trainer.world_size)
        if scaled and not any(found.values()):
            return
        if not getattr(task, "is_searching", False):  # a search for a learning rate goes where there is none
            self._report(task, found)
        for buffer, before in self._buffers:
            buffer.copy_(before)
        if not scaled:  # the scaler leaves the step out by itself, and would miss its gradients
            for parameter in with_gradient:
                parameter.grad = None

    def _report(self, task: LightningModule, found: Found) -> None:
        """Write the step down; raise the error, or count and tell."""
        message = _describe(task, found)
        _write(task, found)
        if self.on_bad_loss == "error":
            raise DivergenceError(
                f"{message}; lower model.init_args.optim.lr, lengthen its warmup_epochs or look at these rows; "
                "model.init_args.optim.on_bad_loss: skip leaves such steps out"
            )
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row == _IN_A_ROW:
            raise DivergenceError(f"{message}, the {_IN_A_ROW}th step in a row; lower model.init_args.optim.lr")
        if task.trainer.is_global_zero:
            logger.warning("%s; the step is left out (%d so far)", message, self.skipped)


def _all_finite(parameters: list[nn.Parameter], trainer: Trainer) -> bool:
    """Return whether all gradients are finite; all processes come to the same answer."""
    largest = get_total_norm([p.grad for p in parameters if p.grad is not None], float("inf"))
    finite = bool(torch.isfinite(largest))
    if trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy):  # each process has its own shard
        return bool(trainer.strategy.reduce_boolean_decision(finite, all=True))
    return finite


def _of_bad_losses(losses: list[tuple[Tensor | None, Tensor]]) -> list[tuple[float, list[int]]]:
    """Loss and rows of each batch whose loss is not finite."""
    return [
        (float(loss), [] if rows is None else [int(row) for row in rows])
        for rows, loss in losses
        if not bool(torch.isfinite(loss))
    ]


def _gather(mine: dict[int, Any], world_size: int) -> dict[int, Any]:
    """The entries of all processes by rank."""
    if world_size == 1:
        return mine
    parts: list[Any] = [None] * world_size
    distributed.all_gather_object(parts, mine)
    return {rank: value for part in parts for rank, value in part.items()}


def _describe(task: LightningModule, found: Found) -> str:
    """Return the step, and whose loss it is, in words."""
    where = f"step {task.global_step} (epoch {task.current_epoch})"
    blamed = []
    for rank, batches in found.items():
        for loss, rows in batches:
            shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
            of_rank = f" of rank {rank}" if len(found) > 1 else ""
            blamed.append(f"the loss{of_rank} is {loss} for rows {shown or 'unknown'}")
    if not blamed:
        return f"{where}: the gradient is not finite, though all losses are"
    return f"{where}: {'; '.join(blamed[:2])}" + (f" and {len(blamed) - 2} more" if len(blamed) > 2 else "")


def _write(task: LightningModule, found: Found) -> None:
    """Add the step, with all its rows, to the file in the run's folder."""
    folder = task.trainer.log_dir  # on all ranks, for it is gathered over them
    if not task.trainer.is_global_zero or folder is None or not Path(folder).is_dir():
        return
    batches = [
        {"rank": rank, "loss": str(loss), "rows": rows} for rank, entries in found.items() for loss, rows in entries
    ]
    append_line(Path(folder) / FILE, {"step": task.global_step, "epoch": task.current_epoch, "batches": batches})
