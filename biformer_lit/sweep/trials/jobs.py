"""Jobs of a study, and how they stand by their attempts, which are Optuna's trials."""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from optuna.trial import FrozenTrial, TrialState

Phase: TypeAlias = Literal["plan", "search", "confirm"]
Status: TypeAlias = Literal["complete", "pruned", "running", "waiting", "failed", "missing"]
_STATUS: dict[TrialState, Status] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
RETRYABLE = ("killed", "crash", "disk")
"""Reasons to fail that another attempt may not meet; numbers that diverge and memory that is short come back."""


@dataclass(frozen=True)
class Job:
    """A cell to be trained with a seed, as the storage knows it.

    Args:
        key: Its folder, relative to ``cells``: CELL-DIGEST/seed-N.
        cell: Name of the cell.
        factors: Factor to label.
        seed: The seed.
        digest: Of the cell's config.
        baseline: Whether the cell is the baseline.
        phase: Whether it was planned, drawn by a search, or repeats the best of a search.
        params: What Optuna's tables show: factor to label, or name in ``space`` to number, and the seed.
    """

    key: str
    cell: str
    factors: dict[str, str]
    seed: int
    digest: str
    baseline: bool
    phase: Phase
    params: dict[str, Any]

    def text(self) -> str:
        """Write the job as text, for the storage."""
        return json.dumps(vars(self))

    @classmethod
    def read(cls, text: str) -> "Job":
        """Parse a job from text."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Standing:
    """State of a job.

    Attributes:
        status: In one word.
        attempt: The attempt that says so, if there is one.
        attempts: Attempts that failed so far.
    """

    status: Status
    attempt: FrozenTrial | None = None
    attempts: int = 0

    @property
    def settled(self) -> bool:
        """True if nobody will train it any more."""
        return self.status in ("complete", "pruned", "failed")

    @property
    def reason(self) -> str | None:
        """Reason why the latest attempt failed."""
        return None if self.attempt is None else self.attempt.user_attrs.get("reason")

    @property
    def result(self) -> dict[str, Any] | None:
        """Result of the job."""
        text = None if self.attempt is None else self.attempt.user_attrs.get("result")
        return None if text is None else json.loads(text)


def this_machine() -> str:
    """Return a name that no other machine has, nor this one after a restart."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}:{boot.read_text().strip() if boot.exists() else ''}"


def standing_of(trials: Iterable[FrozenTrial], retries: int) -> Standing:
    """State of a job.

    Args:
        trials: Its trials that count, in the order of their numbers.
        retries: How often it is tried again after a failure that may not come back.
    """
    trials = list(trials)
    first: dict[int, FrozenTrial] = {}  # of each attempt; the others will be superseded
    for trial in trials:
        first.setdefault(trial.user_attrs["attempt"], trial)
    failed = [trial for trial in first.values() if trial.state == TrialState.FAIL]
    for state, status in _STATUS.items():
        for trial in trials if state in (TrialState.COMPLETE, TrialState.PRUNED) else first.values():
            if trial.state == state:
                return Standing(status, trial, len(failed))
    if not failed:
        return Standing("missing")
    latest = failed[-1]
    since = max((i for i, trial in enumerate(failed) if "again" in trial.user_attrs), default=0)
    tried = sum(trial.user_attrs.get("reason") in RETRYABLE for trial in failed[since:])
    reason = latest.user_attrs.get("reason")
    open_ = reason in (None, "interrupted") or (reason in RETRYABLE and tried <= retries)
    return Standing("missing" if open_ else "failed", latest, len(failed))


def attempt_counts(trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> bool:
    """Return whether this is the attempt of its job that counts: the first that was written, of a job not done yet."""
    for other in trials:
        if other.user_attrs["job"] != trial.user_attrs["job"] or other.number == trial.number:
            continue
        if other.state in (TrialState.COMPLETE, TrialState.PRUNED):
            return False
        if other.user_attrs["attempt"] == trial.user_attrs["attempt"] and other.number < trial.number:
            return False
    return True
