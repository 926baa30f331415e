"""Memory that a device has left for one large tensor."""

import contextlib
import os
from pathlib import Path

import torch

from biformer_lit.errors import MemoryShortageError

_LOOKED_AT = 2**30  # bytes; what is smaller is not worth a look
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_MEMINFO = Path("/proc/meminfo")


def require_memory(wanted: int, device: torch.device, what: str) -> None:
    """Refuse a tensor of the CPU's that does not fit, before the system ends the process for it.

    Graphics processors refuse by themselves, in good order.

    Args:
        wanted: Its bytes.
        device: Where it is to lie.
        what: What it is, with the remedy after a semicolon.

    Raises:
        MemoryShortageError: If it does not fit.
    """
    if wanted < _LOOKED_AT or device.type != "cpu":
        return
    free = free_memory()
    if free is not None and wanted > free:
        raise MemoryShortageError(
            f"{in_gigabytes(wanted)} of memory are needed for {what} ({in_gigabytes(free)} are free)"
        )


def free_memory() -> int | None:
    """Bytes that this process may still take, within the limit of its container; None if the system does not say."""
    limits = []
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        limits.append(sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree")))
    except (OSError, ValueError, KeyError, IndexError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
        limits.append(int(_CGROUP.read_text()))
    return min(limits, default=None)


def in_gigabytes(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 1e12:,.1f} TB" if size >= 1e12 else f"{size / 1e9:,.1f} GB"
