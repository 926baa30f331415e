"""An attempt at a job that is ours: kept alive, reported on and ended in the storage."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from biformer_lit.sweep.trials.jobs import Job
from biformer_lit.sweep.trials.study_record import Record

HEARTBEAT = 60.0
"""Seconds between two signs of life of a running trial."""
_TAIL = 8000  # characters of a log that go into the storage, where a database may have room for 65535 bytes


class Claim:
    """An attempt that is ours, with the lock of its folder.

    Args:
        record: Where it stands.
        trial_id: Of the storage.
        number: Of the trial.
        job: What to train.
        lock: From :func:`lock_folder`.
    """

    def __init__(self, record: Record, trial_id: int, number: int, job: Job, lock: Any) -> None:
        self.record, self.trial_id, self.number, self.job, self.lock = record, trial_id, number, job, lock
        self.folder = record.folder / "cells" / job.key
        self._signed = 0.0

    def sign(self) -> None:
        """Write down whose it is."""
        self._set("owner", self.record.owner)
        self._set("pid", os.getpid())
        self._set("seen", time.time())
        self._signed = time.monotonic()

    def keep(self) -> bool:
        """Give a sign of life when it is time; False if another process has given us up meanwhile."""
        if time.monotonic() - self._signed < HEARTBEAT:
            return True
        self._signed = time.monotonic()
        try:
            self._set("seen", time.time())
        except UpdateFinishedTrialError:
            return False
        return True

    def report(self, step: int, value: float) -> None:
        """Hand an intermediate value to the pruner."""
        with contextlib.suppress(UpdateFinishedTrialError):  # given up by others, as keep will tell
            self.record.ask(lambda: optuna.Trial(self.record.study, self.trial_id).report(value, step))

    def should_prune(self) -> bool:
        """Return whether the pruner gives up on it."""
        return self.record.ask(lambda: optuna.Trial(self.record.study, self.trial_id).should_prune())

    def complete(self, result: Mapping[str, Any]) -> None:
        """End the attempt with its result."""
        state = TrialState.PRUNED if result["status"] == "pruned" else TrialState.COMPLETE
        self._end(state, {"result": json.dumps(result)}, float(result["objective"]["value"]))

    def fail(self, reason: str, message: str = "", tail: str = "") -> None:
        """End the attempt without a result."""
        self._end(TrialState.FAIL, {"message": message, "tail": tail[-_TAIL:], "reason": reason})

    def supersede(self) -> None:
        """End the attempt because another one of the same job counts."""
        self._end(TrialState.FAIL, {"superseded": True})

    def _end(self, state: TrialState, attrs: Mapping[str, Any], value: float | None = None) -> None:
        try:
            for name, content in attrs.items():
                self._set(name, content)
            self.record.finish(self.trial_id, state, value if state == TrialState.COMPLETE else None)
        except UpdateFinishedTrialError:
            pass  # our answer got through and only the thanks were lost, or we were given up
        finally:
            self.lock.close()

    def _set(self, name: str, value: Any) -> None:
        self.record.set(self.trial_id, name, value)
