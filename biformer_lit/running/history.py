"""Record of a run over all its sessions, one JSON object a line, and the figures that follow from it."""

import json
import os
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

from biformer_lit.common.files import replacing

Line: TypeAlias = dict[str, Any]
_LONGEST = 2**20  # bytes of a line: an epoch with the scores of a thousand classes has 50,000
Mode: TypeAlias = Literal["max", "min"]


def append_line(path: Path, line: Line) -> None:
    """Add a line to a file so that it is there even if the machine stops now."""
    with path.open("ab+") as file:
        start = b""
        if file.tell():
            file.seek(-1, os.SEEK_END)
            start = b"" if file.read(1) == b"\n" else b"\n"  # a session that was killed left half a line
        file.write(start + json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Line]:
    """Read all whole lines of a file, none if there is no file.

    Half a line, which a kill may leave, and one longer than a megabyte, which no run writes, are passed over.
    """
    if not path.exists():
        return []
    lines = []
    with path.open("rb") as file:
        while text := file.readline(_LONGEST + 1):
            if len(text) > _LONGEST:
                while text and not text.endswith(b"\n"):
                    text = file.readline(_LONGEST)
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict):
                lines.append(line)
    return lines


def read_epochs(path: Path) -> list[Line]:
    """The lines of ``progress.jsonl`` that tell of an epoch and its metrics; damaged ones are passed over."""
    return [
        line
        for line in read_lines(path)
        if isinstance(line.get("epoch"), int)
        and _is_number(line["epoch"])
        and isinstance(line.get("metrics"), dict)
        and all(map(_is_number, line["metrics"].values()))
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def write_json(path: Path, contents: dict[str, Any]) -> None:
    """Write a file in one step: it is there as a whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(contents, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def standing_epochs(lines: list[Line]) -> list[Line]:
    """One line for each epoch, in order.

    A resumed run goes on after its last checkpoint: a line takes back those of the same epoch and of later ones that
    an earlier session had written.
    """
    epochs: list[Line] = []
    for line in lines:
        while epochs and epochs[-1]["epoch"] >= line["epoch"]:
            epochs.pop()
        epochs.append(line)
    return epochs


def wall_seconds(lines: list[Line]) -> dict[int, float]:
    """Seconds that each session lasted, up to its last line; what was taken back counts, for it was computed."""
    seconds: dict[int, float] = {}
    for line in lines:
        seconds[line["session"]] = max(seconds.get(line["session"], 0.0), line["wall_seconds"])
    return seconds


def summarize(epochs: list[Line], metric: str, mode: Mode, epoch: Literal["best", "last"]) -> dict[str, Any] | None:
    """The objective and the metrics of the best and the last epoch, among those that have the objective.

    Args:
        epochs: One line an epoch, in order.
        metric: The objective.
        mode: Whether more or less of it is better; the first of equally good epochs is the best.
        epoch: Which epoch's value is the objective's.

    Returns:
        A part of ``result.json``, or None if no epoch has the objective.
    """
    measured = [line for line in epochs if metric in line["metrics"]]
    if not measured:
        return None
    sign = 1 if mode == "max" else -1
    chosen = {"best": max(measured, key=lambda line: sign * line["metrics"][metric]), "last": measured[-1]}
    speeds = [line["metrics"].get("train/images_per_second") for line in epochs]
    speeds = [speed for speed in speeds if speed is not None]
    return {
        "epochs": epochs[-1]["epoch"],
        "objective": {"metric": metric, "mode": mode, "epoch": epoch, "value": chosen[epoch]["metrics"][metric]},
        "metrics": {name: line["metrics"] for name, line in chosen.items()},
        "best_epoch": chosen["best"]["epoch"],
        "last_epoch": chosen["last"]["epoch"],
        "images_per_second": median(speeds) if speeds else None,
    }
