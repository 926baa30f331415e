"""Load during the measurement of a trial's speed: trials that share a machine slow each other down."""

import math
from typing import NamedTuple

from biformer_lit.running.history import read_lines
from biformer_lit.sweep.report.content import Content

_ALIKE = 0.25  # trials beside it by which cells may differ and still be compared by their speed


class _Session(NamedTuple):
    host: str
    start: float
    end: float


def trials_beside(content: Content) -> dict[str, float]:
    """Return how many other trials of the study ran on the same machine beside a cell's, on average over their time.

    Cells whose trials' files are not here, or do not tell when they ran, are left out.
    """
    sessions = {
        (cell, seed): _sessions(content, cell, seed)
        for cell in content.table["cell"]
        for seed in content.trial_folders(cell)
    }
    beside: dict[str, float] = {}
    for cell in content.table["cell"]:
        shared = length = 0.0
        for key, own in sessions.items():
            if key[0] != cell:
                continue
            length += sum(one.end - one.start for one in own)
            others = [session for other, found in sessions.items() if other != key for session in found]
            shared += sum(_overlap(one, other) for one in own for other in others)
        if length > 0:
            beside[cell] = shared / length
    return beside


def uneven_load(content: Content) -> str:
    """Return a sentence where cells were measured under loads that differ, so that their speeds say little; else ""."""
    beside = trials_beside(content)
    if len(beside) < 2 or content.table["images_per_second"].isna().all():
        return ""
    low, high = min(beside.values()), max(beside.values())
    if high - low <= _ALIKE:
        return ""
    return (
        f"images/s were measured while {low:.1f} to {high:.1f} other trials of the study ran on the same machine, so "
        "that cells cannot be compared by them; with --workers 1 they can."
    )


def _sessions(content: Content, cell: str, seed: int) -> list[_Session]:
    """Return the periods in which a trial ran, by its own clock; the files are untrusted."""
    folder = content.trial_folders(cell)[seed]
    seconds: dict[int, float] = {}
    for line in read_lines(folder / "progress.jsonl"):
        number, lasted = line.get("session"), line.get("wall_seconds")
        if isinstance(number, int) and isinstance(lasted, int | float):
            seconds[number] = max(seconds.get(number, 0.0), float(lasted))
    found = []
    for number, line in enumerate(read_lines(folder / "sessions.jsonl"), 1):
        start, lasted = line.get("started"), seconds.get(number, 0.0)
        if isinstance(start, int | float) and math.isfinite(start) and 0 < lasted < math.inf:
            found.append(_Session(str(line.get("host", "")), float(start), float(start) + lasted))
    return found


def _overlap(one: _Session, other: _Session) -> float:
    return max(0.0, min(one.end, other.end) - max(one.start, other.start)) if one.host == other.host else 0.0
