"""Jobs of a study: those of its plan, or those that a search draws and then repeats."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.cells import Cell, plan_cells, search_cell
from biformer_lit.sweep.spec.resolve import ResolvedCell, violations
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.sweep.trials.claim import Claim
from biformer_lit.sweep.trials.jobs import Job, Phase, Standing
from biformer_lit.sweep.trials.ledger import Ledger
from biformer_lit.sweep.trials.params import distribution_of, first_of, value_of
from biformer_lit.sweep.trials.varied import columns_of

_DIGITS = 8  # of a digest, in a folder's name
_TRIES = 20  # draws in a row that find nothing new, after which the space counts as exhausted
_EXHAUSTED = "exhausted"  # what is noted of a study then: the digest of its spec

Resolve = Callable[[list[Cell], ResolvedCell | None], list[ResolvedCell]]


def folder_name(cell: str, digest: str, seed: int) -> str:
    """A trial's folder below ``cells``."""
    return str(PurePosixPath(f"{cell}-{digest[:_DIGITS]}", f"seed-{seed}"))


def job_of(spec: StudySpec, resolved: ResolvedCell, seed: int, phase: Phase, params: Mapping[str, Any]) -> Job:
    """The job that trains a cell with a seed."""
    return Job(
        key=folder_name(resolved.cell.name, resolved.digest, seed),
        cell=resolved.cell.name,
        factors=resolved.cell.factors,
        seed=seed,
        digest=resolved.digest,
        baseline=resolved.cell.baseline,
        phase=phase,
        params={**params, "seed": seed} if spec.plan != "search" else dict(params),
    )


class Source(ABC):
    """Source of the jobs of a study."""

    @abstractmethod
    def jobs(self) -> list[Job]:
        """The jobs that are known by now, in the order in which they are to be trained."""

    @abstractmethod
    def config_of(self, job: Job) -> ResolvedCell:
        """The cell of a job."""

    @abstractmethod
    def distributions(self, job: Job) -> Mapping[str, BaseDistribution] | None:
        """Return Optuna's distributions of a job's parameters; None for a job that others have added to the study."""

    def draw(self) -> Claim | None:
        """A new job, if there can be more."""
        return None

    def problem(self, job: Job) -> str | None:
        """Return how a job exceeds the study's constraints, which keeps it from being trained; None if it does not."""
        return None

    def is_over(self, standings: Mapping[str, Standing]) -> bool:
        """Return whether no more jobs will come."""
        return all(standing.settled for standing in standings.values())


class PlanSource(Source):
    """The cells of an ablation, each with every seed; seed by seed, so that a study that is cut short has whole rows.

    Args:
        spec: The study.
        resolve: From cells to their configs.
    """

    def __init__(self, spec: StudySpec, resolve: Resolve) -> None:
        self.resolved = {one.cell.name: one for one in resolve(plan_cells(spec), None)}
        columns = columns_of(spec)
        self._space: dict[str, BaseDistribution] = {n: distribution_of(columns[n]) for n in spec.factors}
        if not spec.factors:
            self._space["cell"] = CategoricalDistribution(list(self.resolved))
        self._space["seed"] = IntDistribution(0, 2**32 - 1)  # all there are: Optuna lets no choices be added later

        def params(one: ResolvedCell) -> dict[str, Any]:
            if not spec.factors:
                return {"cell": one.cell.name}
            return {n: value_of(columns[n], label) for n, label in one.cell.factors.items()}

        self._jobs = [
            job_of(spec, one, seed, "plan", params(one)) for seed in spec.seeds for one in self.resolved.values()
        ]
        self._keys = {job.key for job in self._jobs}

    def jobs(self) -> list[Job]:
        """See :class:`Source`."""
        return self._jobs

    def config_of(self, job: Job) -> ResolvedCell:
        """See :class:`Source`."""
        return self.resolved[job.cell]

    def distributions(self, job: Job) -> Mapping[str, BaseDistribution] | None:
        """See :class:`Source`."""
        return self._space if job.key in self._keys else None


class SearchSource(Source):
    """Cells drawn one after the other with the first seed, then the best of them and the baseline with fresh seeds.

    The seed that a cell was chosen by flatters it; so it takes no part in the comparison.

    Args:
        spec: The study.
        resolve: From cells to their configs.
        ledger: The study's trials; None to look at the plan only.
    """

    def __init__(self, spec: StudySpec, resolve: Resolve, ledger: Ledger | None = None) -> None:
        self.spec, self._ledger, self._resolve = spec, ledger, resolve
        planned = resolve(plan_cells(spec), None)
        self.baseline = planned[0] if planned else None
        self._known: dict[str, ResolvedCell] = {} if self.baseline is None else {self.baseline.cell.name: self.baseline}
        noted = None if ledger is None else ledger.attribute(_EXHAUSTED)
        self._fruitless = _TRIES if noted == spec.digest() else 0
        first = {} if ledger is None else first_of(ledger.trials())  # version 0.1 had numbers as choices of text
        columns = columns_of(spec)
        self.space: dict[str, BaseDistribution] = {
            name: first.get(name, distribution_of(columns[name], listed=True)) for name in spec.factors
        }
        for name, drawn in spec.space.items():
            if drawn.integer:
                self.space[name] = IntDistribution(int(drawn.low), int(drawn.high), drawn.log, int(drawn.step or 1))
            else:
                self.space[name] = FloatDistribution(drawn.low, drawn.high, drawn.log, drawn.step)

    @property
    def resolved(self) -> dict[str, ResolvedCell]:
        """The cells that are known by now, by name."""
        return self._known

    def jobs(self) -> list[Job]:
        """See :class:`Source`."""
        drawn = self._drawn()
        return [*drawn, *self._confirming(drawn)]

    def config_of(self, job: Job) -> ResolvedCell:
        """See :class:`Source`."""
        if job.cell not in self._known:
            self._known[job.cell] = self._resolve([search_cell(self.spec, job.params)], self.baseline)[0]
        found = self._known[job.cell]
        if found.digest != job.digest:
            raise ConfigError(
                f"cell {job.cell}: its config comes to other values than when it was drawn; give back what was "
                "changed, or begin a new study with --name NEW"
            )
        return found

    def distributions(self, job: Job) -> Mapping[str, BaseDistribution]:
        """See :class:`Source`; the baseline lies outside of what is searched."""
        return {} if job.baseline else self.space

    def draw(self) -> Claim | None:
        """See :class:`Source`."""
        assert self._ledger is not None  # noqa: S101 (a plan that is only looked at draws nothing)
        while not self._exhausted(self._drawn()):
            claim = self._ledger.draw(self._job, self.space)
            if claim is None:
                self._fruitless += 1
                if self._fruitless == _TRIES:
                    self._ledger.note(_EXHAUSTED, self.spec.digest())
                continue
            self._fruitless = 0
            before = [job.key for job in self._drawn()]
            if before.index(claim.job.key) < (self.spec.budget.trials or 0):
                return claim
            claim.supersede()  # another machine drew the last one
        return None

    def problem(self, job: Job) -> str | None:
        """See :class:`Source`."""
        found = [] if self.baseline is None else violations(self.spec, self.config_of(job), self.baseline)
        return "; ".join(found) or None

    def is_over(self, standings: Mapping[str, Standing]) -> bool:
        """See :class:`Source`; what confirms the best may be known only since others have ended theirs."""
        if not self._exhausted(self._drawn()) or not super().is_over(standings):
            return False
        return all(job.key in standings for job in self.jobs())

    def _job(self, params: dict[str, Any]) -> Job:
        one = self._resolve([search_cell(self.spec, params)], self.baseline)[0]
        self._known[one.cell.name] = one
        return job_of(self.spec, one, self.spec.seeds[0], "search", params)

    def _exhausted(self, drawn: list[Job]) -> bool:
        return len(drawn) >= (self.spec.budget.trials or 0) or self._fruitless >= _TRIES

    def _drawn(self) -> list[Job]:
        """Return what was drawn so far, in order, each once."""
        jobs = [] if self._ledger is None else self._ledger.jobs()
        return [job for job in jobs if job.phase == "search"]

    def _confirming(self, drawn: list[Job]) -> list[Job]:
        if self._ledger is None or not self.spec.search.confirm or not self._exhausted(drawn):
            return []
        standings = self._ledger.standings(job.key for job in drawn)
        if not super().is_over(standings):
            return []
        sign = -1 if self.spec.objective.mode == "max" else 1

        def rank(job: Job) -> float:
            result = standings[job.key].result
            value = math.inf if result is None else sign * float(result["objective"]["value"])
            return value if standings[job.key].status == "complete" else math.inf

        best = [job for job in sorted(drawn, key=rank) if math.isfinite(rank(job))][: self.spec.search.top]
        first = max(self.spec.seeds)
        jobs = []
        for seed in range(first + 1, first + 1 + self.spec.search.confirm):
            if self.baseline is not None:
                jobs.append(job_of(self.spec, self.baseline, seed, "confirm", {}))
            jobs += [job_of(self.spec, self.config_of(job), seed, "confirm", job.params) for job in best]
        return jobs
