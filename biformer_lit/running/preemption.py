"""A run that is told to stop saves where it is, exactly, and can go on from there to the same bits."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from biformer_lit.seams.lightning_seams import batches_taken, cluster_environment, requeued_checkpoint

STOPPED = 128 + signal.SIGTERM  # as a shell reports a process that SIGTERM has ended
# what stops a run, and how that is called; where several come, the last of them counts, and a requeue above all
_STOPS = {
    getattr(signal, name): word
    for name, word in (("SIGHUP", "SIGHUP"), ("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM"))
    if hasattr(signal, name)  # Windows has no SIGHUP
}
_REQUEUE = len(_STOPS) + 1
_CTRL_C = "\nCtrl-C: saves at the end of this step and stops; press it again to end at once, without saving\n"


class Preemption(Checkpoint):
    """On SIGTERM, SIGINT (Ctrl-C) or SIGHUP: save a checkpoint at the end of the step, and leave.

    The status is the one that a shell gives a process that the signal ended: 143, 130 or 129. A second Ctrl-C ends the
    run at once. SIGINT and SIGHUP that the process was started to ignore (``nohup``, a script's ``&``) stay
    ignored.

    Lightning's own handler talks to the other processes from within the handler, wherever they are, and saves nothing.
    Here the handler takes a note, and the processes compare notes after each step of the optimiser and each epoch, so
    that all stop at the same place, whichever of them was signalled. Validation that is due or under way is finished
    first, and if the run ends meanwhile, it has ended.

    The checkpoint is ``last.ckpt`` beside the run's other checkpoints. Under SLURM it is the file that Lightning looks
    for by itself in ``trainer.default_root_dir`` when the same job starts again (``hpc_ckpt_1.ckpt``, and so on), and
    the signal to requeue (SIGUSR1, of ``SLURMEnvironment``) does the same and then has the job requeued.

    In ``validate``, ``test`` and ``predict`` these signals end the process as soon as the operation under way is done,
    with the same statuses.

    It is to be the last of the trainer's callbacks, so that what it saves has what the others have to save; the
    command line puts it there.
    """

    def __init__(self) -> None:
        self._wish = 0  # what a signal has asked this process for
        self._agreed = 0  # what all processes do
        self._process = 0  # whose signals these are: data workers inherit the handler
        self._interrupted = False  # whether there was a Ctrl-C
        self._doing = "fit"  # what the trainer was called for
        self._speaks = False  # whether this process tells the user what a Ctrl-C does
        self._terminals: list[int] = []  # file descriptors that a hang-up takes away
        self._before: dict[int, Any] = {}  # handlers that were there, which Lightning does not look after
        self._step = -1
        self._path: str | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run of the same process."""
        self._wish = self._agreed = 0
        self._interrupted = False
        self._path = None

    # -- signals -----------------------------------------------------------------------------------------

    def _listen(self, trainer: Trainer) -> None:
        """Replace Lightning's handlers, which it sets after all hooks of the set-up, and takes away itself."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._process, self._speaks = os.getpid(), trainer.is_global_zero
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        self._doing = "fit" if trainer.state.fn is None else trainer.state.fn.value
        answer = self._note if self._doing == "fit" else self._leave
        signal.signal(signal.SIGTERM, answer)
        for number in _STOPS:
            handler = signal.getsignal(number)
            if number == signal.SIGTERM or number in self._before or handler in (signal.SIG_IGN, None):
                continue
            self._before[number] = handler
            signal.signal(number, answer)
        environment = _slurm(trainer)
        if environment is not None and environment.requeue_signal is not None:
            signal.signal(environment.requeue_signal, self._note if trainer.state.fn == "fit" else signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        stops = list(_STOPS)
        if number == signal.SIGINT and self._interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # should even this take too long
            raise SIGTERMException(128 + number)
        self._interrupted = self._interrupted or number == signal.SIGINT
        if number == signal.SIGINT and self._speaks:
            os.write(2, _CTRL_C.encode())  # whatever sys.stderr was just about
        if number == getattr(signal, "SIGHUP", None):
            self._leave_terminal()
        self._wish = max(self._wish, stops.index(number) + 1 if number in stops else _REQUEUE)

    def _leave_terminal(self) -> None:
        """Let what is still printed go nowhere: writing to a terminal that has hung up is an error."""
        for number in self._terminals:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        if number == getattr(signal, "SIGHUP", None):
            self._leave_terminal()
        if number != signal.SIGTERM and self._speaks:
            os.write(2, f"\nstopped by {_STOPS[signal.Signals(number)]} before the end of {self._doing}\n".encode())
        signal.signal(number, signal.SIG_DFL)  # should even leaving take too long
        raise SIGTERMException(128 + number)

    def _restore(self) -> None:
        """Give back the handlers that were there."""
        while self._before:
            number, handler = self._before.popitem()
            if signal.getsignal(number) in (self._note, self._leave, signal.SIG_DFL):
                signal.signal(number, handler)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no more."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen no more."""
        self._restore()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen from here on."""
        self._listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen from here on."""
        self._listen(trainer)
        self._step = trainer.global_step

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen from here on."""
        self._listen(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen from here on."""
        self._listen(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen from here on, if this is no part of training."""
        if trainer.state.fn != "fit":
            self._listen(trainer)

    # -- where to stop -----------------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare notes after a step of the optimiser; gradients that wait for more would be lost."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        # after the last batch the epoch is finished first: saved here, it would go on without its validation
        if self._agree(trainer) and not _epoch_ends(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save again where validation within an epoch has followed the step, so that it is not repeated."""
        if self._agreed and trainer.state.fn == "fit" and not _epoch_ends(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare notes: a signal may have come during validation."""
        if self._agree(trainer):
            self._save(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop, now that everything about the last epoch has been logged."""
        self._stop(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop, now that everything about the last step has been logged."""
        self._stop(trainer)

    def _agree(self, trainer: Trainer) -> int:
        if not self._agreed:
            self._agreed = self._wish
            if trainer.world_size > 1:
                wish = torch.tensor(self._wish, device=trainer.strategy.root_device)
                self._agreed = int(trainer.strategy.reduce(wish, reduce_op="max"))
        return self._agreed

    def _save(self, trainer: Trainer) -> None:
        if self._path is None:
            # from one process, for the next free name may not be the same for all
            self._path = trainer.strategy.broadcast(_path(trainer))
        trainer.save_checkpoint(self._path)

    def _stop(self, trainer: Trainer) -> None:
        if self._path is None:
            return
        if trainer.is_global_zero:
            self._say(trainer)
        # Lightning kills the process that launched the others when one of those ends with a status
        launched = isinstance(_environment(trainer), LightningEnvironment) and trainer.local_rank != 0
        raise SIGTERMException(0 if launched else 128 + self._signal())

    def _signal(self) -> int:
        """The signal that all have agreed to follow; a requeue ends a process as SIGTERM does."""
        stops = list(_STOPS)
        return int(signal.SIGTERM if self._agreed == _REQUEUE else stops[self._agreed - 1])

    def _say(self, trainer: Trainer) -> None:
        reason = "a signal" if self._agreed == _REQUEUE else _STOPS[signal.Signals(self._signal())]
        text = f"stopped by {reason} after step {trainer.global_step}; "
        if _slurm(trainer) is None:
            text += f"go on with --ckpt_path {self._path}"
        else:
            problem = _requeue() if self._agreed == _REQUEUE else None
            text += f"the same job, started again, goes on from {self._path}"
            text += f" (could not requeue it: {problem})" if problem else ""
        sys.stderr.write(f"{text}\n")


def _epoch_ends(trainer: Trainer) -> bool:
    return trainer.is_last_batch or batches_taken(trainer) >= trainer.num_training_batches


def _environment(trainer: Trainer) -> Any:
    return getattr(trainer.strategy, "cluster_environment", None)


def _slurm(trainer: Trainer) -> SLURMEnvironment | None:
    """SLURM, if it is what has started us and jobs are to go on by themselves."""
    # one process needs no environment in its strategy, but Lightning still finds the checkpoint of a job
    environment = cluster_environment(trainer)
    return environment if isinstance(environment, SLURMEnvironment) and environment.auto_requeue else None


def _path(trainer: Trainer) -> str:
    if _slurm(trainer) is not None:
        return requeued_checkpoint(trainer)
    folders = [c.dirpath for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.dirpath]
    if folders:
        return str(Path(_relative(folders[0])) / "last.ckpt")
    # not log_dir, which asks the other processes
    log_dir = trainer.loggers[0].log_dir if trainer.loggers else None
    return str(Path(log_dir or trainer.default_root_dir) / "checkpoints" / "last.ckpt")


def _relative(folder: str | os.PathLike[str]) -> str:
    """As the user would type it."""
    with contextlib.suppress(ValueError):
        return str(Path(folder).relative_to(Path.cwd()))
    return str(folder)


def _requeue() -> str | None:
    """Have the job started again; what went wrong, if anything did."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID", "")
    name = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}" if array else job
    if not re.fullmatch("[0-9_]+", name):
        return f"SLURM_JOB_ID={job!r} is not a number"
    try:
        done = subprocess.run(["scontrol", "requeue", name], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError as error:
        return f"scontrol: {error.strerror}"
    return None if done.returncode == 0 else " ".join(done.stderr.split()) or f"scontrol: status {done.returncode}"
