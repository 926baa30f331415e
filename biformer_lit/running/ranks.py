"""A run of several processes that ends as one: quickly, and with the reason of the one that failed."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

from lightning.pytorch import Callback, LightningModule, Trainer

from biformer_lit.errors import lost_contact
from biformer_lit.running.parent import VARIABLE
from biformer_lit.seams.lightning_seams import launched_processes

_GUESSES = {  # by name: Windows has neither
    "SIGKILL": " (the system may have been out of memory)",
    "SIGBUS": " (shared memory may have been used up; fewer data workers need less)",
}


class RankWatch(Callback):
    """Ends the processes that Lightning has launched as soon as one of them has failed, and says which and how.

    Lightning looks every five seconds and kills all with SIGKILL, itself included, which hides the reason and the
    status. If torchrun or SLURM starts the processes, that is left to them, and nothing is watched.
    """

    def __init__(self) -> None:
        self._own = False  # whether the failure is this process's, which then tells it itself

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait for each process in a thread: the one that is first to end has the reason."""
        processes: list[subprocess.Popen[bytes]] = launched_processes(trainer)
        if processes:  # they have it; another command that this process may start is to decide for itself
            os.environ.pop(VARIABLE, None)
        lock = threading.Lock()
        for rank, process in enumerate(processes, start=trainer.global_rank + 1):
            arguments = (trainer, rank, process, processes, lock)
            threading.Thread(target=self._watch, args=arguments, daemon=True, name=f"rank {rank}").start()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take note of a failure of our own; that the others cannot be reached is none."""
        self._own = self._own or not lost_contact(exception)

    def _watch(
        self,
        trainer: Trainer,
        rank: int,
        process: subprocess.Popen[bytes],
        processes: list[subprocess.Popen[bytes]],
        lock: threading.Lock,
    ) -> None:
        # while we wait here, Lightning's own watch takes the process for one that runs
        status = process.wait()
        if status == 0 or self._own:
            return
        with lock:  # is never given back: this ends the process
            self._end(trainer, rank, status, processes)

    def _end(self, trainer: Trainer, rank: int, status: int, processes: list[subprocess.Popen[bytes]]) -> NoReturn:
        if status < 0:
            sys.stderr.write(f"error: process {rank} of the run {_signal(-status)}, so the others were ended\n")
        elif status != 2:  # with 2 it has said all there is to say in a line
            sys.stderr.write(
                f"error: process {rank} of the run failed (its message stands above), so the others were ended\n"
            )
        sys.stderr.flush()
        for end in [p.kill for p in processes] + [worker.kill for worker in multiprocessing.active_children()]:
            with contextlib.suppress(OSError):
                end()
        for logger in trainer.loggers:
            with contextlib.suppress(Exception):
                logger.finalize("failed")
        # the main thread may hang in a collective operation, out of reach of an exception
        os._exit(128 - status if status < 0 else status)


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"was ended by signal {number}"
    return f"was ended by {name}{_GUESSES.get(name, '')}"
