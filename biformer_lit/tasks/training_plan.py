"""Length and position of a run as the trainer knows them, in the terms of the learning rate's schedule."""

import logging
import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging

from biformer_lit.errors import ConfigError
from biformer_lit.seams.lightning_seams import consumed, is_restarting, restarted_within_epoch
from biformer_lit.tasks.optim import Optimization
from biformer_lit.tasks.schedule import Place, Plan, Rate, Schedule

logger = logging.getLogger(__name__)


def follow_plan(task: LightningModule, optim: Optimization, *, silent: bool = False) -> None:
    """Tell the schedule of a task that is being trained how long the run is and what its rate is; say what changed.

    Called when training starts and at each epoch, for callbacks may change the batch or its accumulation in mid-run.

    Args:
        task: The task, whose trainer has its data.
        optim: The task's settings.
        silent: Say nothing.

    Raises:
        ConfigError: If the length of the run or its batch is unknown.
    """
    trainer = task.trainer
    plan = plan_of(trainer)
    if math.isinf(plan.steps_left(0, 0, 0)):
        raise ConfigError(
            "the length of the run is unknown: set trainer.max_steps, or trainer.max_epochs and, for a stream, "
            "trainer.limit_train_batches to a number of batches"
        )
    place = place_of(trainer)
    warmup = _warmup_steps(optim, plan)
    schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
    if not schedules or not isinstance(schedules[0], Schedule):  # averaging and searches bring their own
        return
    batch = global_batch(trainer, plan.accumulated(place.epoch))
    if batch is None and optim.lr_batch:
        raise ConfigError("optim.lr_batch scales lr by the batch, which nobody tells here; set it to 0")
    peak = optim.scaled_lr(batch or 1)
    said = schedules[0].follow(plan, place, Rate(peak, batch, warmup))
    if said and trainer.is_global_zero and not silent:
        logger.warning("epoch %d, step %d: %s", place.epoch, place.step, said)


def plan_of(trainer: Trainer) -> Plan:
    """Return the planned length of the run, without the epoch that weight averaging adds for BatchNorm's statistics."""
    epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    for callback in _callbacks(trainer):
        if isinstance(callback, StochasticWeightAveraging) and epochs >= 0:
            epochs = min(epochs, int(callback.swa_end) + 1)
    return Plan(epochs, trainer.max_steps, trainer.num_training_batches, _accumulation(trainer))


def _accumulation(trainer: Trainer) -> tuple[tuple[int, int], ...]:
    for callback in _callbacks(trainer):
        if isinstance(callback, GradientAccumulationScheduler):
            return tuple(sorted(callback.scheduling.items()))
    return ((0, trainer.accumulate_grad_batches),)


def place_of(trainer: Trainer) -> Place:
    """Return the position from which the run continues: its counters are restored when training starts."""
    done = consumed(trainer)
    batches = done.batches if is_restarting(trainer) and not done.ended else 0
    return Place(trainer.current_epoch, batches, trainer.global_step)


def catch_up(task: LightningModule) -> None:
    """Have callbacks do what they do at the start of an epoch, which Lightning (2.6) leaves out at a resume within one.

    Without it ``GradientAccumulationScheduler`` would not accumulate in the rest of the epoch, and
    ``StochasticWeightAveraging`` would have no schedule.
    """
    trainer = task.trainer
    if not restarted_within_epoch(trainer):
        return
    for callback in _callbacks(trainer):
        if isinstance(callback, GradientAccumulationScheduler | StochasticWeightAveraging):
            callback.on_train_epoch_start(trainer, task)


def global_batch(trainer: Trainer, accumulated: int) -> int | None:
    """Images of a step over all processes; None if neither a data module nor a loader tells its batch.

    Args:
        trainer: The trainer.
        accumulated: Batches that make a step.
    """
    size = getattr(getattr(trainer, "datamodule", None), "batch_size", None)
    if size is None:
        loader = trainer.train_dataloader
        size = getattr(loader, "batch_size", None) or getattr(
            getattr(loader, "batch_sampler", None), "batch_size", None
        )
    return None if not isinstance(size, int) else size * trainer.world_size * accumulated


def _callbacks(trainer: Trainer) -> list[Any]:
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def _warmup_steps(optim: Optimization, plan: Plan) -> int:
    if optim.warmup_steps is not None:
        return optim.warmup_steps
    if not optim.warmup_epochs:
        return 0
    if math.isinf(plan.batches):
        raise ConfigError(
            "optim.warmup_epochs needs an epoch of known length: set trainer.limit_train_batches to a "
            "number of batches, or optim.warmup_epochs to 0, or give optim.warmup_steps"
        )
    return plan.steps_of(optim.warmup_epochs)
