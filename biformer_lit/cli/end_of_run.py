"""End of a training run: its results as a table, and where to find them."""

import shutil
import sys
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from rich.console import Console
from rich.table import Table

from biformer_lit.tasks import BiFormerTask


def print_results(trainer: Trainer, task: BiFormerTask) -> None:
    """Print the last epoch's metrics, the best value of the monitored one, and the paths."""
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    table = Table(title=f"{type(task).__name__}, {trainer.current_epoch} epochs, {trainer.global_step} steps")
    table.add_column("metric")
    table.add_column("last", justify="right")
    table.add_column("best", justify="right")
    checkpoint = next((c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor), None)
    for name, value in sorted(trainer.callback_metrics.items()):
        best = ""
        if checkpoint is not None and checkpoint.monitor == name and checkpoint.best_model_score is not None:
            best = f"{float(checkpoint.best_model_score):.4f}"
        table.add_row(name, f"{float(value):.4f}", best)
    console = Console()
    console.print(table)
    if checkpoint is not None and checkpoint.best_model_path:
        console.print(f"best checkpoint: {Path(checkpoint.best_model_path)}", soft_wrap=True, highlight=False)
    for line in where_to_look(trainer):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def where_to_look(trainer: Trainer) -> list[str]:
    """Lines that say where the figures of a run are, one for each of its loggers.

    Args:
        trainer: The trainer, after the run.
    """
    lines = [line for logger in trainer.loggers if (line := _of_logger(logger))]
    if not lines:
        lines = ["no logger: the figures above are kept nowhere (trainer.logger: true logs them)"]
    return lines


def _of_logger(logger: Logger) -> str:
    if isinstance(logger, TensorBoardLogger):
        return f"look at the run: {_tensorboard()} --logdir {logger.log_dir}"
    if isinstance(logger, CSVLogger):
        return f"figures of each step: {Path(logger.log_dir) / 'metrics.csv'}"
    kind = type(logger).__name__
    if isinstance(logger, WandbLogger):
        run = logger.experiment
        if address := getattr(run, "url", None):
            return f"look at the run: {address}"
        return f"figures of each step: {getattr(run, 'dir', None) or logger.save_dir} (offline: wandb sync sends them)"
    if isinstance(logger, MLFlowLogger):
        place = getattr(logger, "_tracking_uri", None) or logger.save_dir
        return f"look at the run: mlflow ui --backend-store-uri {place} (run {logger.run_id})"
    folder = logger.log_dir or logger.save_dir
    return f"figures of each step: {kind}" + (f", {folder}" if folder else "")


def _tensorboard() -> str:
    """The command as the user can type it: with its path where the environment is not activated."""
    beside = Path(sys.executable).with_name("tensorboard")
    if shutil.which("tensorboard") or not beside.is_file():
        return "tensorboard"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
