"""Reports of a run in files, for the process that started it: progress, result, failure."""

import contextlib
import errno
import math
import platform
import re
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from biformer_lit.common.devices import peak_memory
from biformer_lit.common.seeding import base_seed
from biformer_lit.errors import (
    BiFormerLitError,
    ConfigError,
    DataError,
    DiskFullError,
    DivergenceError,
    MemoryShortageError,
    causes,
    is_disk_full,
)
from biformer_lit.running.history import (
    append_line,
    read_epochs,
    read_lines,
    standing_epochs,
    summarize,
    wall_seconds,
    write_json,
)
from biformer_lit.running.provenance import device_name, git_commit, versions
from biformer_lit.running.trial_folders import belongs_to_study, is_ours

_OUT_OF_MEMORY = re.compile("not enough memory|out of memory", re.IGNORECASE)


class TrialReport(Callback):
    """Writes how a run goes, what came of it and why it failed as JSON into a folder.

    * ``progress.jsonl``: a line after each epoch and its validation, before the epoch's checkpoint is saved, so that
      a run resumed from ``last.ckpt`` has the lines of all epochs before.
    * ``result.json``: when the run is complete, over all sessions of a run that was resumed. A file named ``prune``
      that appears in the folder ends the run after the next validation, as a result of its own status.
    * ``failure.json``: what ended it otherwise, except an interruption. A rank other than 0 writes it only if it is
      the first to fail; all else is written by rank 0.
    * ``sessions.jsonl``: a line for each start.

    It draws no random number and leaves nothing in checkpoints. List it after the callbacks that log at the end of a
    training epoch, such as Throughput; those that ``--monitoring`` adds come before it anyway.

    Args:
        folder: Where to write; made if it is not there.
        metric: The objective, such as ``val/acc1``.
        mode: Whether more (max) or less (min) of it is better.
        epoch: Whether the objective of the best or of the last epoch is the run's.
        digest: Name of the run's settings, handed through to the result.
        parameters: Of the network, handed through.
        macs: Multiply-adds of the network for one image, handed through.

    Raises:
        ConfigError: On an unknown mode or epoch, or if the folder is that of a study's trial and this process was not
            started by the study.
    """

    def __init__(
        self,
        folder: str,
        metric: str,
        mode: Literal["max", "min"],
        epoch: Literal["best", "last"],
        digest: str,
        parameters: int,
        macs: int,
    ) -> None:
        if mode not in ("max", "min"):
            raise ConfigError(f"TrialReport mode={mode!r} is unknown; use 'max' or 'min'")
        if epoch not in ("best", "last"):
            raise ConfigError(f"TrialReport epoch={epoch!r} is unknown; use 'best' or 'last'")
        if belongs_to_study(folder) and not is_ours(folder):
            raise ConfigError(
                f"TrialReport folder={folder!r} is that of a study's trial, where only the study writes; to repeat the "
                "trial use the config.yaml there, or leave TrialReport out and give the logger another folder"
            )
        self.folder = Path(folder).absolute()
        self.metric = metric
        self.mode: Literal["max", "min"] = mode
        self.epoch: Literal["best", "last"] = epoch
        self.given = {"digest": digest, "parameters": parameters, "macs": macs}
        self.started = time.monotonic()
        self.session = 0
        self.commit: str | None = None
        self.before: dict[str, Any] = {}  # what had been logged when the epoch began
        self.validated = False  # in this epoch
        self.pruned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count the session, and forget how an earlier one failed."""
        if not _is_training(trainer) or not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "failure.json").unlink(missing_ok=True)
        self.commit = git_commit()  # now: the files may change while the run lasts
        sessions = self.folder / "sessions.jsonl"
        append_line(sessions, {"started": time.time(), "host": platform.node(), "git_commit": self.commit})
        self.session = len(read_lines(sessions))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what is there, so that the values of an earlier validation are not taken for this epoch's."""
        self.before = dict(trainer.callback_metrics)
        self.validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check whether the run is to continue; all ranks do what rank 0 saw."""
        if not _is_training(trainer) or trainer.sanity_checking:
            return
        self.validated = True
        seen = trainer.is_global_zero and (self.folder / "prune").exists()
        if trainer.strategy.broadcast(seen):
            self.pruned = trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's line. Validation is over, and checkpoints are saved only after this.

        Raises:
            DivergenceError: If a validation loss or the objective is not finite.
            DataError: If there is nothing that the objective could be measured on.
            ConfigError: If the objective is not logged.
        """
        if not _is_training(trainer):
            return
        logged = trainer.callback_metrics  # on all ranks, for some values are gathered over them
        fresh = {name: float(value) for name, value in logged.items() if value is not self.before.get(name)}
        epoch = trainer.current_epoch + 1
        problem = trainer.strategy.broadcast(self._problem(pl_module, fresh, epoch))
        if problem is not None:
            raise problem
        if not trainer.is_global_zero:
            return
        line = {
            "epoch": epoch,
            "epochs": _planned_epochs(trainer),
            "step": trainer.global_step,
            "wall_seconds": time.monotonic() - self.started,
            "metrics": dict(sorted(fresh.items())),
            "session": self.session,
            "peak_memory_bytes": peak_memory(trainer.strategy.root_device),
        }
        append_line(self.folder / "progress.jsonl", line)

    def _problem(self, task: LightningModule, metrics: dict[str, float], epoch: int) -> BiFormerLitError | None:
        """Return what is wrong with an epoch's metrics."""
        if self.metric in metrics and self.metric in getattr(task, "unmeasured", ()):
            return DataError(
                f"{self.metric} cannot be measured in epoch {epoch}: the validation data holds nothing that counts; "
                "label it, or name another split (data.init_args.val_split)"
            )
        for name, value in metrics.items():
            judged = name.endswith("/loss") and not name.startswith("train/")  # the task judges its own steps
            if (name == self.metric or judged) and not math.isfinite(value):
                return DivergenceError(
                    f"{name}={value} in epoch {epoch}: training has diverged; lower model.init_args.optim.lr or "
                    "lengthen its warmup_epochs"
                )
        should_be_there = self.validated or not task.trainer.enable_validation
        return self._never_logged(metrics) if should_be_there and self.metric not in metrics else None

    def _never_logged(self, metrics: dict[str, float]) -> ConfigError:
        """Return the message for an objective that was never logged: a wrong name, or no validation."""
        names = ", ".join(sorted(metrics)) or "nothing at all"
        return ConfigError(f"the objective's metric={self.metric!r} is not logged; use one that is: {names}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the result; also if a session had nothing left to do but this.

        Raises:
            ConfigError: If the objective was never logged.
        """
        if not _is_training(trainer) or not trainer.is_global_zero:
            return
        lines = read_epochs(self.folder / "progress.jsonl")
        epochs = standing_epochs(lines)
        summary = summarize(epochs, self.metric, self.mode, self.epoch)
        if summary is None:
            raise self._never_logged(epochs[-1]["metrics"] if epochs else {})
        ended_early = self.pruned and epochs[-1]["epoch"] < epochs[-1]["epochs"]
        device = trainer.strategy.root_device
        seconds = wall_seconds(lines) | {self.session: time.monotonic() - self.started}
        result = {
            "status": "pruned" if ended_early else "complete",
            "seed": base_seed(),
            **self.given,
            **summary,
            "peak_memory_bytes": max([peak_memory(device), *(line["peak_memory_bytes"] for line in lines)]),
            "wall_seconds": sum(seconds.values()),
            "sessions": self.session,
            "versions": versions(),
            "git_commit": self.commit,
            "host": platform.node(),
            "device": device_name(device, trainer.world_size),
        }
        write_json(self.folder / "result.json", result)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write what went wrong, unless the run was only stopped or another rank has reported it."""
        if not _is_training(trainer) or not isinstance(exception, Exception) or trainer.received_sigterm:
            return
        path = self.folder / "failure.json"
        # the disk may be full, which must not hide the error; the first to fail has the cause, others its effects
        with contextlib.suppress(OSError):
            if not path.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                message = " ".join(f"{type(exception).__name__}: {exception}".split())
                write_json(path, {"kind": failure_kind(exception), "message": message})


def _is_training(trainer: Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.fast_dev_run  # type: ignore[attr-defined]


def _planned_epochs(trainer: Trainer) -> int:
    """Return the planned number of epochs by ``max_epochs`` and ``max_steps``, whichever comes first."""
    limits: list[int] = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(trainer.max_epochs)
    if trainer.max_steps >= 0 and trainer.num_training_batches != float("inf"):
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        limits.append(math.ceil(trainer.max_steps / steps))
    return min(limits, default=trainer.current_epoch + 1)


def failure_kind(exception: BaseException) -> Literal["nan", "oom", "disk", "error"]:
    """Return the kind of failure that an exception, or one of its causes, stands for."""
    for cause in causes(exception):
        code = cause.errno if isinstance(cause, OSError) else None
        if isinstance(cause, DivergenceError):
            return "nan"
        if isinstance(cause, DiskFullError) or (not isinstance(cause, BiFormerLitError) and is_disk_full(cause)):
            return "disk"
        if isinstance(cause, BiFormerLitError):  # says itself what is to be done, whatever words it uses
            return "oom" if isinstance(cause, MemoryShortageError) else "error"
        if isinstance(cause, torch.OutOfMemoryError | MemoryError) or code == errno.ENOMEM:
            return "oom"
        if _OUT_OF_MEMORY.search(str(cause)):
            return "oom"
    return "error"
