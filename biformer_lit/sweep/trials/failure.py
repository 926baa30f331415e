"""Reasons why trials fail, from what they wrote, how they ended, and the end of their logs."""

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from biformer_lit.errors import DISK_FULL

LOG = "trial.log"
Reason: TypeAlias = Literal["nan", "oom", "disk", "timeout", "killed", "config", "crash"]
_HEADER = b"=== started "
_LINES = 20
_MOST = 65536  # bytes of a log that are looked at
_LONGEST = 300  # characters of a message
_OUT_OF_MEMORY = re.compile("not enough memory|out of memory|MemoryError|cannot allocate memory", re.IGNORECASE)
# exit statuses of a run that was told to stop and has saved where it was
_STOPPED = {128 + getattr(signal, name): name for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)}
_GUESSES = {
    signal.SIGKILL: "the system may have been out of memory",
    signal.SIGBUS: "shared memory may have been used up; fewer data workers need less",
}


@dataclass(frozen=True)
class Failure:
    """Reason why a trial failed.

    Attributes:
        reason: One word for the tables.
        message: One line for people.
        tail: The last lines of the log of this attempt.
    """

    reason: Reason
    message: str
    tail: str


def header(text: str) -> bytes:
    """The line of a log that an attempt starts with."""
    return b"\n" + _HEADER + text.replace("\n", " ").encode(errors="replace") + b" ===\n"


def log_tail(folder: Path) -> str:
    """The last 20 lines that the latest attempt printed, of a log of any size and content."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST))
            read = file.read()
    except OSError:
        return ""
    lines = read.split(b"\n")
    if size > _MOST:
        del lines[0]  # the end of a line
    for i in range(len(lines) - 1, -1, -1):
        if lines[i].startswith(_HEADER):
            del lines[: i + 1]
            break
    # a progress bar overwrites its line again and again: what was last to be seen of it
    shown = [line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace").rstrip() for line in lines]
    return "\n".join([line for line in shown if line][-_LINES:])


def why_failed(folder: Path, returncode: int, timed_out: bool) -> Failure:
    """Find out why a trial ended without a result.

    Args:
        folder: The trial's.
        returncode: Its exit status, or minus the signal that killed it.
        timed_out: Whether we ended it because its time was over.
    """
    tail = log_tail(folder)
    reason, message = _reason(_read(folder / "failure.json"), returncode, timed_out, tail)
    message = " ".join(message.split())
    return Failure(reason, message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "...", tail)


def _reason(told: dict[str, Any], returncode: int, timed_out: bool, tail: str) -> tuple[Reason, str]:
    kind, message = told.get("kind"), str(told.get("message", ""))
    if timed_out:
        return "timeout", "took longer than budget.minutes allows"
    if kind in ("nan", "oom", "disk"):
        return kind, message
    if returncode == 2:
        said = [line.removeprefix("error: ") for line in tail.split("\n") if line.startswith("error: ")]
        text = said[-1] if said else message or "refused its configuration (exit status 2)"
        return "disk" if DISK_FULL.search(text) else "config", text
    if kind == "error":
        return "crash", message
    if returncode <= 0 or returncode in _STOPPED:
        return "killed", _signal_message(-returncode)
    text = tail.rpartition("\n")[2] or f"exit status {returncode}, nothing printed"
    reason: Reason = "oom" if _OUT_OF_MEMORY.search(text) else "disk" if DISK_FULL.search(text) else "crash"
    return reason, text


def _signal_message(number: int) -> str:
    if -number in _STOPPED:
        return f"stopped by {_STOPPED[-number]}; goes on from where it was"
    if number == 0:
        return "ended in good order but without a result, as after SIGTERM"
    try:
        name = f" ({signal.Signals(number).name})"
    except ValueError:
        return f"killed by signal {number}"
    guess = _GUESSES.get(signal.Signals(number))
    return f"killed by signal {number}{name}" + (f"; {guess}" if guess else "")


def _read(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) else {}
