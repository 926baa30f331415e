"""One trial's process: how it is started, watched and ended, and why it failed. For Unix; parts are for Linux alone."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from biformer_lit.checkpoints.damage import damage, previous_of
from biformer_lit.extending import repeated_words
from biformer_lit.running.invocation import own_command
from biformer_lit.running.parent import VARIABLE
from biformer_lit.running.trial_folders import VARIABLE as TRIAL
from biformer_lit.sweep.trials.failure import LOG, Failure, header, why_failed

__all__ = ["Failure", "TrialProcess", "lock_folder", "next_command", "slot_environment", "start", "why_failed"]

CONFIG = "config.yaml"
"""Name of the config that repeats a trial."""
TRIAL_CONFIG = "trial.yaml"
"""The config that the study trains with, which reports into the trial's folder."""
_PAUSE = 0.02  # seconds between two looks at processes that are to end
_KILL_LIMIT = 60.0  # seconds that SIGKILL may take: a driver may have a lot of memory to clear away


def lock_folder(folder: Path) -> IO[bytes] | None:
    """The open file ``lock`` of a trial's folder, locked for us, or None if another process holds it.

    The lock is held for as long as anybody has the file open: we, or a trial that was started with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def next_command(folder: Path, config: Path) -> list[str]:
    """The command line that starts a trial, or goes on with it where its last checkpoint left off.

    A checkpoint that is damaged is renamed ``last.ckpt.broken``. The trial then goes on from the one before it, which
    takes its name, and starts again if that one is damaged, too.

    Args:
        folder: The trial's.
        config: Its complete config.
    """
    command = [*own_command(), "fit", *repeated_words(), "--config", str(config)]
    last = folder / "checkpoints" / "last.ckpt"
    if not last.exists():
        return command
    resumed = [*command, "--ckpt_path", str(last)]
    if _is_whole(last):
        return resumed
    last.replace(last.with_name("last.ckpt.broken"))
    previous = previous_of(last)
    goes_on = previous.is_file() and _is_whole(previous)
    if goes_on:
        previous.replace(last)
    with (folder / LOG).open("ab") as log:
        then = "continues from the one before it" if goes_on else "starts again"
        log.write(f"{last} is incomplete or damaged; it is now last.ckpt.broken, and training {then}\n".encode())
    return resumed if goes_on else command


def _is_whole(checkpoint: Path) -> bool:
    """Return whether it can be resumed from; a folder, of weights that are sharded, is not looked at."""
    return checkpoint.is_dir() or (zipfile.is_zipfile(checkpoint) and damage(checkpoint) is None)


def start(command: Sequence[str], folder: Path, *, env: Mapping[str, str], lock: IO[Any]) -> "TrialProcess":
    """Start a trial in a session and process group of its own, which ends when this process does (on Linux).

    Call it from the main thread: the system ends the trial together with the thread that started it.

    Args:
        command: What to run; not through a shell, which would stand between the trial and us.
        folder: The trial's; what it prints is appended to ``trial.log`` there.
        env: Its whole environment, to which the variables of :mod:`biformer_lit.running.parent` and
            :mod:`biformer_lit.running.trial_folders` are added.
        lock: From :func:`lock_folder`. The trial holds the lock for as long as it lives; our own copy of the file
            remains ours to close, once there is nothing more to do for this trial.
    """
    (folder / "failure.json").unlink(missing_ok=True)  # of an earlier attempt
    environment = {**env, VARIABLE: str(os.getpid()), TRIAL: str(folder.resolve())}
    with (folder / LOG).open("ab") as log:
        log.write(header(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {' '.join(command)}"))
        log.flush()
        process = subprocess.Popen(  # noqa: S603
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
        )
    return TrialProcess(process, folder)


class TrialProcess:
    """A trial that was started, with all the processes of its group: ranks and data workers.

    Args:
        process: The group's leader.
        folder: The trial's.

    Attributes:
        pid: Of the leader, and number of the group.
        started: When it was started, in seconds since 1970.
        folder: The trial's.
        returncode: The leader's exit status, or minus the signal that killed it; None while it is not known.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self.pid = process.pid
        self.folder = folder
        self.started = time.time()
        self.returncode: int | None = None
        self._start = time.monotonic()
        self._end: float | None = None

    @property
    def wall_seconds(self) -> float:
        """Seconds that it has run."""
        return (self._end or time.monotonic()) - self._start

    def poll(self) -> int | None:
        """The leader's exit status, None while it runs; once it has ended the rest of its group is ended too."""
        if self.returncode is None and self._has_exited():
            self.kill()
        return self.returncode

    def terminate(self) -> None:
        """Ask the whole group to end, and do not wait for it; :meth:`kill` sees to it that it does."""
        if self.returncode is None:
            self._signal(signal.SIGTERM)

    def kill(self, grace: float = 10.0) -> list[int]:
        """End the whole group: SIGTERM, and SIGKILL for what is left once the leader ends or the grace is over.

        Args:
            grace: Seconds the leader has for an orderly end.

        Returns:
            Process ids that outlived SIGKILL for a minute, as one that hangs in a driver may; without ``/proc`` (not
            Linux) only the leader is looked at. Normally none.
        """
        if self.returncode is not None:
            return []
        if not self._has_exited():
            self.terminate()
            _wait(self._has_exited, grace)
        self._signal(signal.SIGKILL)
        _wait(lambda: self._has_exited() and not _living_members(self.pid), _KILL_LIMIT)
        survivors = _living_members(self.pid)
        if not self._has_exited():
            return sorted({self.pid, *survivors})
        # only now is the leader's number given up: until here nobody else could have the group's
        self.returncode = self._process.wait()
        self._end = time.monotonic()
        return survivors

    def _has_exited(self) -> bool:
        """Return whether the leader has ended; it is left as a zombie, so that its number stays taken."""
        if self._process.returncode is not None:
            return True
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # another thread has waited for it
            return True

    def _signal(self, number: signal.Signals) -> None:
        # PermissionError: how macOS says that there are only zombies left
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    """Return as soon as the condition holds, or when the time is over."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(_PAUSE)


def _living_members(group: int) -> list[int]:
    """Processes of a group, by ``/proc``; zombies do not count, which hold nothing and may wait long for a parent."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_bytes().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):  # ended just now
            continue
        if int(its_group) == group and state not in (b"Z", b"X"):
            members.append(int(path.parent.name))
    return sorted(members)


def slot_environment(slot: int, groups: Sequence[Sequence[str]], workers: int) -> dict[str, str]:
    """Return the additional environment of a trial that keeps concurrent trials apart.

    Args:
        slot: Number of the trial's slot, from 0.
        groups: GPUs of each slot, as in ``CUDA_VISIBLE_DEVICES``; the slots take turns if there are fewer groups
            than slots. Empty without GPUs.
        workers: How many slots there are, which share the processor's cores.
    """
    group = groups[slot % len(groups)] if groups else ()
    environment = {"MASTER_PORT": str(_free_port())}
    if group:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(group)
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment["OMP_NUM_THREADS"] = str(max(1, cores // (workers * max(1, len(group)))))  # each GPU has a process
    if "SLURM_NTASKS" in os.environ:
        environment["SLURM_JOB_NAME"] = "interactive"  # or Lightning would take the job's tasks for the trial's ranks
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
