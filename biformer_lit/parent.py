"""A process that is not to outlive the one that started it."""

import ctypes
import os
import signal
import sys

VARIABLE = "BIFORMER_LIT_DIES_WITH"  # environment variable: process id of the parent to die with
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """On Linux, end by SIGKILL as soon as the parent is gone, if ``BIFORMER_LIT_DIES_WITH`` holds its process id.

    The variable is then set to this process, so that the ranks that Lightning launches (the same command line in the
    same environment) do likewise: whoever dies takes all those below along. The system watches the parent's *thread*
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
