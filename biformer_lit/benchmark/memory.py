"""Peak memory of one computation, in a process of its own so that nothing else is counted."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from biformer_lit.errors import ConfigError


def measure_memory(build: Callable[..., Callable[[], object]], *arguments: Any, device: torch.device) -> int:
    """Peak memory of one call in a process of its own, over what lay there before the call.

    Args:
        build: A function at the top of its module that makes the call from ``arguments``.
        *arguments: What can be sent to another process.
        device: On a GPU the allocator's peak is taken, on a CPU that of the resident pages.

    Returns:
        Bytes.

    Raises:
        ConfigError: If the process died, for lack of memory most likely.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, build, arguments, str(device)))
    process.start()
    sender.close()
    try:
        peak = receiver.recv()
    except EOFError:
        process.join()
        raise ConfigError(
            f"the process that measured the memory died (status {process.exitcode}); the shapes may be too large for it"
        ) from None
    process.join()
    return int(peak)


def _measure(sender: Any, build: Callable[..., Callable[[], object]], arguments: tuple[Any, ...], where: str) -> None:
    device = torch.device(where)
    call = build(*arguments)
    if device.type == "cuda":
        call()
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        sender.send(torch.cuda.max_memory_allocated(device) - before)
    else:
        before = _resident()
        call()
        sender.send(max(0, _peak_resident() - before))
    sender.close()


def _resident() -> int:
    """Resident bytes of this process now, from which Linux counts the next peak."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # resets the peak
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return _peak_resident()


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
