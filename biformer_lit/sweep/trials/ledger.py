"""Ledger of a study: its trials in Optuna's storage, so that each cell is trained once, whichever process dies.

A cell to be trained with a seed is a *job*, named by its folder. Each *attempt* at it is one of Optuna's trials.
Attempts are written into the storage before anybody trains, and are claimed by setting their state from WAITING to
RUNNING, which a storage lets only one do. Two coordinators may write the same attempt at the same moment; then the one
with the lower number counts, and whoever claims the other lets go of it. So nothing here needs a lock over several
machines.
"""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.trials.claim import Claim
from biformer_lit.sweep.trials.jobs import Job, Standing, attempt_counts
from biformer_lit.sweep.trials.params import first_of, fitting, suggest, widened
from biformer_lit.sweep.trials.process import lock_folder
from biformer_lit.sweep.trials.study_record import Record


class Ledger(Record):
    """A study's record, with who trains what: attempts are written, claimed, drawn and given up here."""

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others on this machine out for a moment: what they would write too need not be sorted out later."""
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # -- writing attempts --------------------------------------------------------------------------------

    def enqueue(self, jobs: Iterable[Job], *, again: bool = False) -> int:
        """Write an attempt of each job that needs one.

        Args:
            jobs: In the order they are to be trained.
            again: Also of those that have failed for good.

        Returns:
            How many were written.
        """
        jobs = list(jobs)
        if not self._open(jobs, again=again):
            return 0
        with self._alone():
            found = self._open(jobs, again=again)
            for job, standing in found:
                self._write(job, standing, again=standing.status == "failed")
        return len(found)

    def _open(self, jobs: list[Job], *, again: bool) -> list[tuple[Job, Standing]]:
        """The jobs that need an attempt; a cell that is too large stays so, however often it is tried."""
        standings = self.standings(job.key for job in jobs)
        wanted = ("missing", "failed") if again else ("missing",)
        found = [(job, standings[job.key]) for job in jobs if standings[job.key].status in wanted]
        return [(job, s) for job, s in found if s.status == "missing" or s.reason != "constraint"]

    def _write(self, job: Job, standing: Standing, *, again: bool) -> None:
        attrs = {"job": job.key, "attempt": standing.attempts, "about": job.text(), "phase": job.phase}
        if again:
            attrs["again"] = True
        attrs |= {f"factor:{name}": label for name, label in job.factors.items()}
        system: dict[str, Any] = {"fixed_params": job.params}
        if job.phase == "confirm":  # Optuna's best trial is the best of those that are feasible: of the draws
            system["constraints"] = [1.0]
        params, kinds = self._added(job)
        trial = create_trial(
            state=TrialState.WAITING, system_attrs=system, user_attrs=attrs, params=params, distributions=kinds
        )
        self.ask(lambda: self.storage.create_new_trial(self.study_id, template_trial=trial))

    def _added(self, job: Job) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Labels that were added to a study since Optuna noted a factor's choices.

        A journal takes them with the trial; a database takes no other choices, and has the attribute factor:NAME alone.
        """
        if not isinstance(self.storage, JournalStorage):
            return {}, {}
        params: dict[str, Any] = {}
        kinds: dict[str, BaseDistribution] = {}
        for name, first in first_of(self.trials()).items():
            value, label = job.params.get(name), job.factors.get(name)
            if label is not None and value is not None and fitting(first, first, value, label) is None:
                if not isinstance(first, CategoricalDistribution) and not isinstance(value, str):
                    continue  # a number beyond the first trials' bounds, which may move
                kinds[name] = wider = widened(first, value, label)
                params[name] = wider.choices[-1]
        return params, kinds

    # -- claiming ----------------------------------------------------------------------------------------

    def claim(self, distributions: Callable[[Job], Mapping[str, BaseDistribution] | None]) -> Claim | None:
        """Claim the next attempt that is free, None if none is free now.

        Args:
            distributions: What Optuna is to know of a job's parameters; None for a job that is not ours to train, as
                one that others have added to the study.
        """
        trials = self.trials()
        for trial in trials:
            if trial.state != TrialState.WAITING:
                continue
            job = Job.read(trial.user_attrs["about"])
            space = distributions(job)
            if space is None:
                continue
            if not attempt_counts(trial, trials):
                self._discard(trial)
                continue
            lock = lock_folder(self.folder / "cells" / job.key)
            if lock is None:  # its last owner, or a process that has it from a machine's own memory, is still there
                continue
            claim = self._claim(trial, job, lock, space)
            if claim is not None:
                return claim
            lock.close()
        return None

    def _claim(
        self, trial: FrozenTrial, job: Job, lock: IO[bytes], space: Mapping[str, BaseDistribution]
    ) -> Claim | None:
        trial_id = self._id(trial.number)
        if not self._take(trial_id):
            return None
        claim = Claim(self, trial_id, trial.number, job, lock)
        try:
            claim.sign()
            trials = self.trials()
            if not attempt_counts(trial, trials):
                claim.supersede()
                return None
            first = first_of(trials)
            for name, wanted in space.items():
                found = fitting(first.get(name), wanted, job.params.get(name), job.factors.get(name))
                if found is not None and name not in trial.params:
                    self._tell(trial_id, name, *found)
        except UpdateFinishedTrialError:  # given up by others while the storage was away
            return None
        return claim

    def _tell(self, trial_id: int, name: str, kind: BaseDistribution, value: Any) -> None:
        inner = kind.to_internal_repr(value)
        self.ask(lambda: self.storage.set_trial_param(trial_id, name, inner, kind))

    def draw(self, job_of: Callable[[dict[str, Any]], Job], space: Mapping[str, BaseDistribution]) -> Claim | None:
        """Have the search draw parameters, and claim the job that they make.

        Returns:
            The claim, or None if that job exists already, is taken, or is refused as a config.
        """
        with self._alone():
            attrs = {"owner": self.owner, "seen": time.time()}
            begun = create_trial(state=TrialState.RUNNING, user_attrs=attrs)
            trial_id = self.ask(lambda: self.storage.create_new_trial(self.study_id, begun))
            try:
                return self._draw(trial_id, job_of, space)
            except UpdateFinishedTrialError:  # given up by others while the storage was away
                return None

    def _draw(
        self, trial_id: int, job_of: Callable[[dict[str, Any]], Job], space: Mapping[str, BaseDistribution]
    ) -> Claim | None:
        trial = self.ask(lambda: optuna.Trial(self.study, trial_id))
        for name, kind in space.items():
            self.ask(lambda n=name, k=kind: suggest(trial, n, k))  # type: ignore[misc]
        # as they were stored: an answer that was lost may have had something else drawn than what was written first
        params = self.ask(lambda: self.storage.get_trial(trial_id)).params
        try:
            job = job_of({name: params[name] for name in space})
        except ConfigError as error:
            self.say(f"a cell was drawn that cannot be: {error}")
            self.set(trial_id, "message", str(error))
            self.finish(trial_id, TrialState.FAIL)
            return None
        attrs = {"job": job.key, "attempt": 0, "about": job.text(), "phase": job.phase}
        for name, value in reversed(attrs.items()):  # the job last: with it, the trial counts
            self.set(trial_id, name, value)
        frozen = self.ask(lambda: self.storage.get_trial(trial_id))
        self._await_earlier(frozen.number)
        lock = lock_folder(self.folder / "cells" / job.key)
        if lock is None or not attempt_counts(frozen, self.trials()):
            if lock is not None:
                lock.close()
            self._discard(frozen)
            return None
        claim = Claim(self, trial_id, frozen.number, job, lock)
        claim.sign()
        return claim

    def _await_earlier(self, number: int) -> None:
        """Wait until others have said what they drew before us; what counts is told by the order of numbers."""
        while True:
            running = self.ask(lambda: self.storage.get_all_trials(self.study_id, False, (TrialState.RUNNING,)))
            # those of this machine are dead, or they would be alone now
            open_ = [
                t for t in running if t.number < number and "job" not in t.user_attrs and not self.watch.lock_decides(t)
            ]
            if not any(self.watch.is_alive(trial) for trial in open_):
                return
            time.sleep(0.2)

    def discard(self) -> None:
        """End the attempts that were written twice and that nobody needs."""
        trials = self.trials()
        for trial in trials:
            if trial.state == TrialState.WAITING and not attempt_counts(trial, trials):
                self._discard(trial)

    def _discard(self, trial: FrozenTrial) -> None:
        trial_id = self._id(trial.number)
        with contextlib.suppress(UpdateFinishedTrialError):  # another process was quicker
            self.set(trial_id, "superseded", True)
            self.finish(trial_id, TrialState.FAIL)

    def _take(self, trial_id: int) -> bool:
        try:
            return bool(self.ask(lambda: self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)))
        except UpdateFinishedTrialError:
            return False

    # -- the dead ---------------------------------------------------------------------------------------------

    def reap(self) -> list[str]:
        """End the trials whose owner is dead, so that their jobs get another attempt.

        Returns:
            Keys of their jobs.
        """
        reaped = []
        found = self.ask(lambda: self.storage.get_all_trials(self.study_id, states=(TrialState.RUNNING,)))
        for trial in found:
            if self.watch.is_alive(trial):
                continue
            trial_id = self._id(trial.number)
            try:
                self.set(trial_id, "reason", "interrupted")
            except UpdateFinishedTrialError:
                continue
            if self.finish(trial_id, TrialState.FAIL) and "job" in trial.user_attrs:
                reaped.append(trial.user_attrs["job"])
        return reaped
