"""The device that a command is asked for, and how much of its memory is in use."""

import os
import sys
from pathlib import Path

import torch

from biformer_lit.errors import ConfigError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def find_device(name: str) -> torch.device:
    """The device of that name, or for ``auto`` a GPU if there is one.

    Args:
        name: auto, cpu or cuda.

    Raises:
        ConfigError: If it is not there.
    """
    cuda = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if cuda else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not cuda):
        raise ConfigError(f"device={name!r} is not there; use cpu" + (" or cuda" if cuda else ""))
    return torch.device(name)


def restart_peak(device: torch.device) -> int:
    """Bytes in use now, from which :func:`peak_memory` counts on: of a GPU's allocator, or the process's resident ones.

    Where the system keeps one peak for the whole life of a process (not Linux), that one is returned.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    clear = Path("/proc/self/clear_refs")
    if resource is not None and os.access(clear, os.W_OK):
        clear.write_text("5")  # resets the peak
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use since :func:`restart_peak`; 0 if the system does not tell (Windows)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
