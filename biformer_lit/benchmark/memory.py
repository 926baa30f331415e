"""Peak memory of one computation, in a process of its own so that nothing else is counted."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch

from biformer_lit.common.devices import peak_memory, restart_peak
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
        call()  # or the libraries' workspaces would count
    before = restart_peak(device)
    call()
    sender.send(max(0, peak_memory(device) - before))
    sender.close()
