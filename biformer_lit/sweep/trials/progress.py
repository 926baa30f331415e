"""Progress of a running trial, read from its ``progress.jsonl``."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Progress of a trial.

    Attributes:
        epoch: Epochs done.
        epochs: Epochs in all.
        value: The objective's latest value, None before the first validation.
        seconds_left: Estimate from this session's pace, None before its first epoch.
    """

    epoch: int
    epochs: int
    value: float | None
    seconds_left: float | None


class ProgressFile:
    """Reads the lines that are new since the last look.

    Args:
        folder: The trial's.
        metric: The objective's name.
        whole: Whether to begin with the lines of earlier sessions.
    """

    def __init__(self, folder: Path, metric: str, *, whole: bool = False) -> None:
        self._path = folder / "progress.jsonl"
        self._metric = metric
        self._position = self._path.stat().st_size if self._path.exists() and not whole else 0
        self._first: int | None = None  # first epoch of this session
        self._seconds = 0.0  # that it had lasted by its latest line
        self.latest: Progress | None = None

    def new(self) -> Iterator[Progress]:
        """Each epoch that was finished since the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                read = file.read()
        except OSError:
            return
        whole = read[: read.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            try:
                self.latest = self._progress(json.loads(line))
            except (ValueError, KeyError, TypeError):  # cut off by a kill; a line of its own since
                continue
            yield self.latest

    def silent_seconds(self) -> float:
        """Seconds since anything was last written in the trial's folder, 0 if that cannot be told."""
        try:
            with os.scandir(self._path.parent) as entries:
                written = max(entry.stat().st_mtime for entry in entries)
        except (OSError, ValueError):
            return 0.0
        return max(0.0, time.time() - written)

    def _progress(self, entry: dict[str, Any]) -> Progress:
        epoch, epochs, seconds = int(entry["epoch"]), int(entry["epochs"]), float(entry["wall_seconds"])
        if self._first is None or seconds < self._seconds:  # the clock restarted: another session
            self._first = epoch
        self._seconds = seconds
        value = entry["metrics"].get(self._metric, None if self.latest is None else self.latest.value)
        return Progress(epoch, epochs, value, seconds / (epoch - self._first + 1) * (epochs - epoch))
