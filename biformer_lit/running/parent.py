"""Processes that end together with the one that started them, and on its word alone."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

VARIABLE = "BIFORMER_LIT_DIES_WITH"  # environment variable: process id of the parent to die with
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """On Linux, end by SIGKILL as soon as the parent is gone, if ``BIFORMER_LIT_DIES_WITH`` holds its process id.

    The variable is then set to this process, so that the ranks that Lightning launches (the same command line in the
    same environment) do the same: a process that dies takes all below with it. The system watches the parent's *thread*
    that started us rather than the parent, so processes are to be started from a thread that lives on, such as the
    main one. The watch is for the process that the parent itself started: a shell in between would be taken for a
    parent that has changed.

    Raises:
        SystemExit: If the parent is gone already, as it may be after the seconds that importing torch takes.
    """
    parent = os.environ.get(VARIABLE)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if str(os.getppid()) != parent:  # asked after the watch began, so that no moment goes unwatched
        raise SystemExit(f"error: process {parent} ({VARIABLE}), which this one was to end with, has ended")
    os.environ[VARIABLE] = str(os.getpid())


def leave_signals_to_parent(worker: int) -> None:  # noqa: ARG001 (the contract of worker_init_fn)
    """In a data worker: end by SIGTERM only if it comes from the process that the worker works for.

    Schedulers and terminals (Ctrl-C, a hang-up) signal all processes of a run, and a worker that ends at once would
    break the run off before it has saved where it is. The signal to requeue is left to the parent, too.

    Args:
        worker: Its number, of no meaning here.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # not on Windows
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # not on macOS
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    threading.Thread(target=_end_by_parent, args=(parent.pid,), daemon=True).start()


def _end_by_parent(parent: int | None) -> None:
    while signal.sigwaitinfo({signal.SIGTERM, signal.SIGUSR1}).si_pid != parent:
        pass
    os._exit(0)
