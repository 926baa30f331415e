"""Compare the speed of variants of the same computation, in turns.

Machines are shared and noisy, so a single time says little. Here all variants take turns in one run, and what counts is
the ratio of neighbours in time: the median over the rounds, with its range.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Comparison:
    """One variant beside the baseline, in the same rounds.

    Attributes:
        variant: Its name.
        seconds: Median time of one call.
        ratio: Median over the rounds of its time over the baseline's; below 1 is faster.
        lowest: The lowest of these ratios.
        highest: The highest of these ratios.
        memory: Peak memory of a call over what lay there before, in bytes; None if not measured.
        memory_ratio: That over the baseline's.
    """

    variant: str
    seconds: float
    ratio: float
    lowest: float
    highest: float
    memory: int | None = None
    memory_ratio: float | None = None

    def with_memory(self, peak: int, baseline: int) -> "Comparison":
        """The same with its peak memory and the baseline's, both in bytes."""
        return replace(self, memory=peak, memory_ratio=peak / baseline if baseline else None)


def time_in_turns(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    rounds: int = 7,
    seconds: float = 0.3,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Time several calls in turns.

    Args:
        calls: What to time, by name; the first is the baseline.
        device: Where they compute: a CPU is timed by the clock, a GPU by events.
        rounds: How often each has its turn.
        seconds: Least length of one turn; short calls are repeated.
        progress: Told the name of each round.

    Returns:
        A comparison for each call, the baseline first with ratio 1.
    """
    repeats = {}
    for name, call in calls.items():
        call()  # compiles, allocates, fills caches
        repeats[name] = max(1, round(seconds / max(seconds_of(call, 1, device), 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for name, call in calls.items():
            times[name].append(seconds_of(call, repeats[name], device))
    base = next(iter(times.values()))
    result = []
    for name, taken in times.items():
        ratios = [mine / theirs for mine, theirs in zip(taken, base, strict=True)]
        result.append(Comparison(name, statistics.median(taken), statistics.median(ratios), min(ratios), max(ratios)))
    return result


def seconds_of(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds of one call, averaged over ``repeats``; a GPU is timed by its own events."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / repeats
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats
