"""Trains what a study has open, several trials at a time; may be killed at any moment and started again.

One thread does it all. Trials end with the thread that started them (:mod:`biformer_lit.running.parent`), and nothing
here takes longer than a look at a file or a word with the storage.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biformer_lit.common.files import write_text
from biformer_lit.common.yaml_text import yaml_of
from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.resolve import repeat_config, trial_config
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.board import write_tensorboard, write_trial
from biformer_lit.sweep.trials.claim import Claim
from biformer_lit.sweep.trials.display import SILENT, Display, Line, duration, summary_line
from biformer_lit.sweep.trials.jobs import Job, Standing, Status
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.sweep.trials.process import (
    CONFIG,
    TRIAL_CONFIG,
    TrialProcess,
    next_command,
    slot_environment,
    start,
    why_failed,
)
from biformer_lit.sweep.trials.progress import ProgressFile
from biformer_lit.sweep.trials.source import Source
from biformer_lit.sweep.trials.storage import StorageError, patiently
from biformer_lit.sweep.trials.study_plugins import check_unchanged

Command = Callable[[Path, Path], list[str]]
_PAUSE = 0.05  # seconds between two looks at the processes
_LOOK = 1.0  # seconds between two looks at the files of a running trial
_ASK = 2.0  # seconds between two questions to the storage while a slot is free and nothing is to be had
_REAP = 15.0  # seconds between two looks for the dead of others
_LAST_WORDS = 5.0  # seconds that the storage has to answer when we end
# of a process that is itself a rank; a trial's ranks are its own affair
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


@dataclass
class Running:
    """A trial of ours that runs."""

    claim: Claim
    process: TrialProcess
    progress: ProgressFile
    judged: int = 0  # the last epoch that the pruner knows of
    best: float | None = None
    looked: float = field(default_factory=time.monotonic)
    silent: float = 0.0
    told: float = SILENT  # seconds of silence after which it is told

    @property
    def line(self) -> Line:
        """Line that shows it."""
        return Line(self.claim.job.key, self.process.wall_seconds, self.progress.latest, silent=self.silent)


class Runner:
    """Trains a study's jobs.

    Args:
        spec: The study.
        source: Its jobs.
        ledger: Who has which.
        display: Where to show it.
        workers: Trials at a time.
        groups: GPUs of each slot, see :func:`slot_environment`.
        command: From a trial's folder and config to the command that trains it.
    """

    def __init__(
        self,
        spec: StudySpec,
        source: Source,
        ledger: Ledger,
        display: Display,
        *,
        workers: int = 1,
        groups: Sequence[Sequence[str]] = (),
        command: Command = next_command,
    ) -> None:
        self.spec, self.source, self.ledger, self.display = spec, source, ledger, display
        self.workers, self.groups, self.command = workers, groups, command
        self._running: dict[int, Running] = {}
        self._standings: dict[str, Standing] = {}
        self._next_ask = self._next_reap = 0.0

    def run(self) -> dict[str, Standing]:
        """Train until everything is settled.

        Returns:
            How each job stands at the end.
        """
        shown = False
        try:
            while not self._over():
                self._fill()
                if not shown:  # not before, for importing TensorBoard takes a second, in which trials can run
                    shown = True
                    write_tensorboard(self.ledger.folder, self.source.jobs(), self._standings, say=self.display.say)
                for slot, running in list(self._running.items()):
                    self._look_after(slot, running)
                self.display.show([running.line for running in self._running.values()], self._standings)
                time.sleep(_PAUSE)
            self.ledger.discard()
        finally:
            self._stop()
        return self._standings

    def _over(self) -> bool:
        now = time.monotonic()
        if now >= self._next_reap:
            self._next_reap = now + _REAP
            for key in self.ledger.reap():
                self.display.say(f"{key}: was interrupted; goes on from its last checkpoint")
        elif self._running or now < self._next_ask:
            return False
        self._survey()
        return not self._running and self.source.is_over(self._standings)

    def _survey(self) -> None:
        """Write the attempts that are missing, and see how things stand."""
        jobs = self.source.jobs()
        self.ledger.enqueue(jobs)
        self._standings = self.ledger.standings(job.key for job in jobs)

    def _fill(self) -> None:
        """Start trials in the slots that are free."""
        for slot in range(self.workers):
            if slot in self._running:
                continue
            if time.monotonic() < self._next_ask:
                return
            claim = self.ledger.claim(self.source.distributions) or self.source.draw()
            if claim is None:
                self._next_ask = time.monotonic() + _ASK
                return
            self._start(slot, claim)

    def _start(self, slot: int, claim: Claim) -> None:
        job, folder = claim.job, claim.folder
        finished = _read_result(folder, job)
        if finished is not None:  # whoever trained it died before it could say so
            self._complete(claim, finished)
            return
        resolved = self.source.config_of(job)
        problem = self.source.problem(job)
        if problem is not None:  # asked here, for whoever drew it may have died before it could say so
            claim.fail("constraint", problem)
            self._show(job, "failed", costs=resolved.costs)
            return
        try:
            check_unchanged(self.ledger.folder)
        except ConfigError:
            claim.fail("interrupted")
            raise
        (folder / "prune").unlink(missing_ok=True)
        config = folder / TRIAL_CONFIG
        # JSON is YAML, and leaves no doubt about what is text; made anew each time, for the folder may have been moved
        text = json.dumps(trial_config(resolved, self.spec, folder, job.seed), indent=1)
        repeated = yaml_of(repeat_config(resolved, self.spec, job.seed))
        patiently(lambda: write_text(folder / CONFIG, repeated), self.display.say)  # waits where the disk is full
        patiently(lambda: write_text(config, text), self.display.say)
        environment = {k: v for k, v in os.environ.items() if k not in _RANK_VARIABLES}
        environment.setdefault("GOMP_SPINCOUNT", "1000")  # trials that share cores must not wait busily
        environment |= slot_environment(slot, self.groups, self.workers)
        # a trial of the storage begins with its attempt, and the pruner is to know all epochs of the run
        progress = ProgressFile(folder, self.spec.objective.metric, whole=job.phase == "search")
        command = self.command(folder, config)
        process = patiently(lambda: start(command, folder, env=environment, lock=claim.lock), self.display.say)
        self._running[slot] = Running(claim, process, progress)
        self._show(job, "running", costs=resolved.costs)

    def _look_after(self, slot: int, running: Running) -> None:
        code = running.process.poll()
        minutes = self.spec.budget.minutes
        timed_out = code is None and minutes is not None and running.process.wall_seconds > 60 * minutes
        if timed_out:
            running.process.kill()
            code = running.process.returncode
        if code is not None or timed_out:
            del self._running[slot]
            self._finish(running, code or 0, timed_out)
            return
        if time.monotonic() - running.looked < _LOOK:
            return
        running.looked = time.monotonic()
        for progress in running.progress.new():
            if progress.value is not None and running.claim.job.phase == "search" and self.spec.search.prune:
                self._judge(running, progress.epoch, progress.value)
        self._tell_silence(running)
        if not running.claim.keep():
            self.display.say(f"{running.claim.job.key}: was given up by others, who took us for dead; stopped")
            running.process.kill()
            running.claim.lock.close()
            del self._running[slot]

    def _tell_silence(self, running: Running) -> None:
        """Say when a trial has written nothing for long, and again after twice that time; an epoch may be that long."""
        running.silent = min(running.progress.silent_seconds(), running.process.wall_seconds)
        if running.silent < running.told:
            running.told = SILENT if running.silent < SILENT else running.told
            return
        running.told = 2 * running.silent
        limit = "" if self.spec.budget.minutes is not None else "; budget.minutes would end a trial that hangs"
        self.display.say(f"{running.claim.job.key}: has written nothing for {duration(running.silent)}{limit}")

    def _judge(self, running: Running, epoch: int, value: float) -> None:
        """Ask the pruner about a trial of a search."""
        if epoch <= running.judged:  # trained again after an interruption
            return
        running.judged = epoch
        if self.spec.objective.epoch == "best" and running.best is not None:
            value = max(value, running.best) if self.spec.objective.mode == "max" else min(value, running.best)
        running.best = value
        running.claim.report(epoch, value)
        if running.claim.should_prune():
            (running.claim.folder / "prune").touch()

    def _finish(self, running: Running, code: int, timed_out: bool) -> None:
        claim = running.claim
        finished = _read_result(claim.folder, claim.job)
        if finished is not None:
            self._complete(claim, finished)
            return
        failure = why_failed(claim.folder, code, timed_out)
        claim.fail(failure.reason, failure.message, failure.tail)
        self._survey()
        standing = self._standings[claim.job.key]
        if standing.settled:
            self._show(claim.job, standing.status, result=standing.result)
        again = "not tried again" if standing.settled else "tried again"
        self.display.say(f"{claim.job.key}: failed ({failure.reason}): {failure.message}; {again}")
        self._next_ask = 0.0

    def _complete(self, claim: Claim, result: Mapping[str, Any]) -> None:
        claim.complete(result)
        standing = Standing("pruned" if result["status"] == "pruned" else "complete")
        self._standings[claim.job.key] = standing
        self._show(claim.job, standing.status, result=result)
        value = result["objective"]["value"]
        done = summary_line(self._standings.values())
        self.display.say(
            f"{claim.job.key}: {result['status']}, {self.spec.objective.metric} {value:.4f}, "
            f"{result['epochs']} epochs ({done})"
        )
        self._next_ask = 0.0

    def _show(self, job: Job, status: Status, **known: Any) -> None:
        """Tell TensorBoard of a trial."""
        write_trial(self.spec, self.ledger.folder, job, status, **known, say=self.display.say)

    def _stop(self) -> None:
        """End what runs; the next start goes on from the checkpoints."""
        running = list(self._running.values())
        self._running.clear()
        for one in running:  # all at once, for each may take its time
            one.process.terminate()
        for one in running:
            one.process.kill()
        if running:
            self.ledger.patience = _LAST_WORDS
        with contextlib.suppress(StorageError):  # who is dead is found out anyway
            for one in running:
                one.claim.fail("interrupted")


def _read_result(folder: Path, job: Job) -> dict[str, Any] | None:
    """The result of this very config, if it is there."""
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("digest") == job.digest else None
