"""All variants of one case: built, timed in turns, and their memory measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from biformer_lit.benchmark.memory import measure_memory
from biformer_lit.benchmark.turns import Comparison, time_in_turns
from biformer_lit.errors import ConfigError


def check_turns(variants: Sequence[str], rounds: int) -> None:
    """Refuse what cannot be compared.

    Raises:
        ConfigError: If a variant is named twice or there is no round.
    """
    if len(set(variants)) < len(variants):
        raise ConfigError("variants: one is named twice; name each once")
    if rounds < 1:
        raise ConfigError(f"rounds={rounds} must be at least 1")


def compare(
    build: Callable[..., Callable[[], object]],
    arguments: Mapping[str, tuple[Any, ...]],
    device: torch.device,
    *,
    rounds: int,
    memory: bool,
    progress: Callable[[str], None],
) -> list[Comparison]:
    """Time the variants in turns and, if asked to, measure the peak memory of each in a process of its own.

    Args:
        build: A function at the top of its module that makes a variant's call.
        arguments: What ``build`` takes for each variant, by name; the first is the baseline.
        device: Where they compute.
        rounds: Turns of each variant.
        memory: Measure the peak memory too.
        progress: Told the name of each round.
    """
    calls = {variant: build(*given) for variant, given in arguments.items()}
    compared = time_in_turns(calls, device, rounds=rounds, progress=progress)
    del calls  # before the processes that measure the memory take theirs
    if not memory:
        return compared
    peaks = [measure_memory(build, *arguments[c.variant], device=device) for c in compared]
    return [c.with_memory(peak, peaks[0]) for c, peak in zip(compared, peaks, strict=True)]
