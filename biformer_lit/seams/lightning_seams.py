"""Private parts of Lightning: its loops' counters, its loggers' numbers, its launcher, its connectors.

Seen in Lightning 2.6.6. The counters of the loops are public in name, but documented nowhere, and have changed their
meaning before (https://github.com/Lightning-AI/pytorch-lightning/pull/20379).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

OVERRIDDEN: Final = (
    (LightningModule, "_apply_batch_transfer_handler"),  # each batch passes here, whoever's data module it is from
    (WeightAveraging, "_swap_models"),  # puts the average into the model, and takes it out
    (LightningCLI, "_set_seed"),
    (LightningCLI, "_parse_ckpt_path"),  # would take all settings of a checkpoint
    (LightningCLI, "_run_subcommand"),
)
"""Private methods that classes of this package override; a class that overrides one calls it by ``super()``."""


class Consumed(NamedTuple):
    """Progress of training.

    Attributes:
        epoch: Epochs that were trained to their end.
        batches: Batches of the epoch that were consumed, also by the one at whose end a checkpoint was written.
        ended: Whether the last batch of the epoch was taken, which may still be under way.
    """

    epoch: int
    batches: int
    ended: bool


def consumed(trainer: Trainer) -> Consumed:
    """Return the counters of the training loop.

    ``ready`` would count a batch whose step failed too, and ``completed`` not the one at whose end a file was written.
    """
    epochs: Any = trainer.fit_loop.epoch_progress
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    count = int(batches.current.processed)
    ended = bool(batches.is_last_batch or count >= trainer.num_training_batches)
    return Consumed(int(epochs.current.processed), count, ended)


def is_restarting(trainer: Trainer) -> bool:
    """Return whether the training loop goes on from a checkpoint and has not taken a batch yet."""
    return bool(trainer.fit_loop.restarting)


def batches_taken(trainer: Trainer) -> int:
    """Return the number of batches of the epoch that the training loop has taken from its loader."""
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    return int(batches.current.ready)


def end_epoch_here(trainer: Trainer) -> None:
    """Make the batch that was just taken the epoch's last, and have validation follow it.

    A stream may end before ``limit_train_batches``, after which Lightning would not validate
    (https://github.com/Lightning-AI/pytorch-lightning/issues/19624).
    """
    trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True
    if trainer.val_check_interval == 1.0:
        trainer.val_check_batch = float("inf")  # validate after the last batch, and not after that of a given number


def restarted_within_epoch(trainer: Trainer) -> bool:
    """Return whether the training loop goes on from a checkpoint that was written before the epoch's last batch."""
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    return bool(trainer.fit_loop.restarted_mid_epoch and not batches.is_last_batch)


def begin_next_epoch_rightly(trainer: Trainer) -> None:
    """Count the next epoch as begun where a checkpoint was written after the last batch of one.

    Lightning (2.6) counts that epoch as ended, but would not count the next one: checkpoints would be an epoch behind,
    and one more resume repeat an epoch.
    """
    loop = trainer.fit_loop
    batches = loop.epoch_loop
    if loop.restarted_mid_epoch and batches.restarted_on_train_batch_end and batches.batch_progress.is_last_batch:
        loop.reset_restart_stage()


def load_batches_again(trainer: Trainer) -> None:
    """Have the training loop ask for its loader once more, as after a change of the batch size."""
    trainer.fit_loop._combined_loader = None


def is_filling_statistics(trainer: Trainer) -> bool:
    """Return whether the epoch only fills the averaged model's BatchNorm statistics, without a backward pass."""
    return bool(trainer.fit_loop._skip_backward)


def number_runs(logger: Any, claim: Callable[[Any, int], int]) -> None:
    """Have a logger ask ``claim`` which number its run gets.

    Lightning looks which folders there are and makes its own later, so that runs started together share one
    (https://github.com/Lightning-AI/pytorch-lightning/issues/11418).

    Args:
        logger: A ``TensorBoardLogger`` or ``CSVLogger``.
        claim: Returns the number for a logger and the number that Lightning would take. ``logger.version`` is that
            number until it returns. A function of a module, as loggers are pickled (``ddp_spawn``).
    """
    logger._get_next_version = partial(_claimed, logger, claim)


def _claimed(logger: Any, claim: Callable[[Any, int], int]) -> int:
    number: int = type(logger)._get_next_version(logger)
    logger._version = number  # so that an error of the disk can name a folder
    return claim(logger, number)


def launches_ranks(trainer: Trainer) -> bool:
    """Return whether Lightning starts the other processes of a run itself, with the same command line."""
    return isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)


def launched_processes(trainer: Trainer) -> list[Any]:
    """Return the processes that Lightning has started for a run, ``subprocess.Popen`` each."""
    found: list[Any] = getattr(trainer.strategy.launcher, "procs", [])
    return found


def cluster_environment(trainer: Trainer) -> Any:
    """Return what has started the processes, also for one process, whose strategy knows of none."""
    return trainer._accelerator_connector.cluster_environment


def requeued_checkpoint(trainer: Trainer) -> str:
    """Return the path of the next checkpoint that Lightning looks for when the same SLURM job starts again."""
    return str(trainer._checkpoint_connector.hpc_save_path(trainer.default_root_dir))
