"""A study's record in Optuna's storage: its trials, what was noted of it, and patience where it does not answer."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from biformer_lit.sweep.trials.alive import Watch
from biformer_lit.sweep.trials.jobs import Job, Standing, standing_of, this_machine
from biformer_lit.sweep.trials.storage import StorageError, file_of, patiently

T = TypeVar("T")


class Record:
    """The trials of a study, as everybody who works on it can read and write them.

    Args:
        storage: Where they are.
        name: The study's name.
        folder: The study's folder, in which the jobs' folders lie.
        mode: Whether more (max) or less (min) of the objective is better.
        retries: How often a job that crashed or was killed is tried again.
        local: Whether everybody who has the storage has this very folder, as with a file in it.
        sampler: How a search draws.
        pruner: When a search gives up on a trial.
        say: Gets a line of text for people.
        looking: Only read; the study must be there.

    Raises:
        StorageError: If it does not answer, or for looking has no such study.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        folder: Path,
        *,
        mode: Literal["max", "min"],
        retries: int,
        local: bool,
        sampler: optuna.samplers.BaseSampler | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
        say: Callable[[str], None] = print,
        looking: bool = False,
    ) -> None:
        # before a database Optuna puts a cache, which only knows the trials that were made through it
        storage = self.storage = optuna.storages.get_storage(storage)
        self.folder, self.retries, self.local, self.say = folder, retries, local, say
        if not looking:
            folder.mkdir(parents=True, exist_ok=True)
        found = folder.stat()  # by number, for it may be moved; a lock in another folder says nothing of ours
        self.owner = f"{this_machine()}:{found.st_dev}:{found.st_ino}"
        self.watch = Watch(self.owner, folder, local, say)
        self.patience: float | None = None
        self._file = file_of(storage)
        direction = StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE

        def create() -> optuna.Study:
            return optuna.create_study(
                storage=storage,
                study_name=name,
                direction=direction,
                load_if_exists=True,
                sampler=sampler,
                pruner=pruner or optuna.pruners.NopPruner(),  # Optuna's default gives up on slow starters
            )

        if looking:
            try:
                self.study = self.ask(lambda: optuna.load_study(study_name=name, storage=storage))
            except KeyError:
                raise StorageError(f"the record of study {name} is empty: it was never begun, or is gone") from None
            self.study_id = self.ask(lambda: storage.get_study_id_from_name(name))
            return
        try:
            self.study = self.ask(create)
        except DuplicatedStudyError:  # created by another process between looking and creating
            self.study = self.ask(create)
        self.study_id = self.ask(lambda: storage.get_study_id_from_name(name))

    def ask(self, call: Callable[[], T]) -> T:
        """Call the storage, and wait where it does not answer.

        Raises:
            StorageError: If it did not come back in time, or its file is gone.
        """

        def look() -> T:
            try:
                return call()
            except Exception as error:
                if self._file is not None and not (self._file.is_file() and self._file.stat().st_size):
                    raise StorageError(
                        f"storage: {self._file} is gone; put it back, or run the same command again, which takes what "
                        "is complete from the trials' folders"
                    ) from error
                raise

        return patiently(look, self.say, self.patience)

    # -- what there is -----------------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        """Attempts that count, as Optuna's trials in the order of their numbers."""
        found = self.ask(lambda: self.storage.get_all_trials(self.study_id, deepcopy=False))
        return [trial for trial in found if "job" in trial.user_attrs and "superseded" not in trial.user_attrs]

    def jobs(self) -> list[Job]:
        """Every job that was ever written, in that order."""
        found: dict[str, Job] = {}
        for trial in self.trials():
            job = Job.read(trial.user_attrs["about"])
            found.setdefault(job.key, job)
        return list(found.values())

    def standings(self, keys: Iterable[str]) -> dict[str, Standing]:
        """Return the state of each job."""
        by_job: dict[str, list[FrozenTrial]] = {}
        for trial in self.trials():
            by_job.setdefault(trial.user_attrs["job"], []).append(trial)
        return {key: standing_of(by_job.get(key, []), self.retries) for key in keys}

    def attribute(self, name: str) -> Any:
        """Something that was noted of the study, None if it was not."""
        return self.attributes().get(name)

    def attributes(self) -> dict[str, Any]:
        """Everything that was noted of the study."""
        return self.ask(lambda: self.storage.get_study_user_attrs(self.study_id))

    def note(self, name: str, value: Any) -> None:
        """Note something of the study."""
        self.ask(lambda: self.storage.set_study_user_attr(self.study_id, name, value))

    # -- writing -----------------------------------------------------------------------------------------------

    def finish(self, trial_id: int, state: TrialState, value: float | None = None) -> bool:
        """Set a trial's last state; False if it had one already."""
        values = None if value is None else [value]
        try:
            self.ask(lambda: self.storage.set_trial_state_values(trial_id, state, values))
        except UpdateFinishedTrialError:
            return False
        return True

    def set(self, trial_id: int, name: str, value: Any) -> None:
        """Write something down of a trial.

        Raises:
            UpdateFinishedTrialError: If the trial has ended.
        """
        self.ask(lambda: self.storage.set_trial_user_attr(trial_id, name, value))

    def _id(self, number: int) -> int:
        return self.ask(lambda: self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number))
