"""The learning rate over a run: a curve over the share of the run that is done, and what a change of plan does to it.

The place in the schedule is kept beside the number of steps taken, because the same share of a run is another number of
steps with another batch, another accumulation or another number of processes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from biformer_lit.errors import CheckpointError
from biformer_lit.tasks.curve import Curve


class Plan(NamedTuple):
    """Planned length of a run, as far as its steps depend on it.

    Attributes:
        epochs: ``max_epochs``, -1 for no limit.
        steps: ``max_steps``, -1 for no limit.
        batches: Batches of an epoch and process, infinite where nobody knows.
        accumulation: From which epoch on how many batches make a step, by epoch; the first entry is for epoch 0.
    """

    epochs: int
    steps: int
    batches: float
    accumulation: tuple[tuple[int, int], ...]

    def accumulated(self, epoch: int) -> int:
        """Return the number of batches per step in an epoch."""
        return next(factor for first, factor in reversed(self.accumulation) if epoch >= first)

    def steps_left(self, epoch: int, batch: int, step: int) -> float:
        """Steps from a place to the end of the run.

        Args:
            epoch: The epoch, from 0.
            batch: Batches of it that are done.
            step: Steps that are done, as ``max_steps`` counts them.

        Returns:
            At least 0; infinite if nothing limits the run.
        """
        by_steps = math.inf if self.steps < 0 else max(self.steps - step, 0)
        if self.epochs < 0 or math.isinf(self.batches):
            return by_steps
        by_epochs = 0
        for number in range(epoch, self.epochs):
            factor = self.accumulated(number)
            # gradients of a started step are lost at a resume, but its batches count
            by_epochs += math.ceil(self.batches / factor) - (batch // factor if number == epoch else 0)
        return min(by_epochs, by_steps)

    def steps_of(self, epochs: float) -> int:
        """Steps of the first epochs, a fraction of one included, rounded."""
        if len(self.accumulation) == 1:
            return round(epochs * self.batches / self.accumulation[0][1])
        whole = int(epochs)
        parts = [*((number, 1.0) for number in range(whole)), (whole, epochs - whole)]
        return round(sum(share * self.batches / self.accumulated(number) for number, share in parts))


class Place(NamedTuple):
    """Position of a run: epochs, batches of the epoch and steps that are done."""

    epoch: int
    batch: int
    step: int


class Rate(NamedTuple):
    """Learning rate as determined by the settings.

    Attributes:
        peak: Peak learning rate, scaled with the global batch if that is wanted.
        batch: Global batch, None if nobody tells it.
        warmup: Steps of the warm-up.
    """

    peak: float
    batch: int | None
    warmup: int


class Schedule(LRScheduler):
    """A warm-up and a curve, set at every step.

    Args:
        optimizer: The optimiser, whose groups hold their own peak rates.
        curve: The form.
        peak: Peak learning rate that the groups' rates belong to.
        length: Gives the steps of the whole run and of the warm-up, for those who do not call :meth:`follow`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        curve: Curve,
        peak: float,
        length: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        self.curve = curve
        self.peak = peak
        self.length = length
        self.plan: Plan | None = None
        self.batch: int | None = None
        self.offset = 0.0  # place in the schedule minus steps taken
        self.total: float | None = None  # steps of the schedule, as steps are now
        self.warmup = 0.0
        self._older: float | None = None  # the factor in a checkpoint of a version that kept no plan
        super().__init__(optimizer)

    # -- the rate ----------------------------------------------------------------------------------------

    def factor(self) -> float:
        """Factor on the peak rate at the present step."""
        place = self.last_epoch + self.offset
        if place == 0:  # the length, for which Lightning would open the data too early, is not needed yet
            return self.curve.factor(0, 1, 0, self.peak)
        total, warmup = (self.total, self.warmup) if self.total is not None else self._told_length()
        return self.curve.factor(place, total, warmup, self.peak)

    def _told_length(self) -> tuple[float, float]:
        if self.length is None:
            raise RuntimeError("the schedule was not told how long the run is: call follow first, or give length")
        return self.length()

    def get_lr(self) -> list[Any]:
        """The rate of each group; groups that were added later keep theirs."""
        factor = self.factor()
        added = self.optimizer.param_groups[len(self.base_lrs) :]
        return [*(base * factor for base in self.base_lrs), *(group["lr"] for group in added)]

    @property
    def share(self) -> float:
        """The share of the schedule that is done, 0 to 1."""
        return min((self.last_epoch + self.offset) / self.total, 1.0) if self.total else 1.0

    # -- the plan ----------------------------------------------------------------------------------------

    def follow(self, plan: Plan, place: Place, rate: Rate) -> str | None:
        """Go by a plan and a peak rate from here on.

        The first plan, and one that has not changed, mean the schedule from the first step on. Another one goes on at
        the share of the run that is done; one of another length does what ``on_extension`` says.

        Args:
            plan: How long the run is to be.
            place: Where it is.
            rate: What the rate is to be.

        Returns:
            What has changed, as a sentence, or None.
        """
        before, batch_before, peak_before = self.plan, self.batch, self.peak
        left = plan.steps_left(*place)
        if self._older is not None:
            before = self._guess(plan, place, rate)
        self._set_peak(rate.peak)
        said: list[str] = []
        if before is None:
            self.offset, self.total, self.warmup = 0.0, self.last_epoch + left, rate.warmup
        elif before != plan:
            said.append(self._change(before, plan, place, rate.warmup))
        self.plan, self.batch, self._older = plan, rate.batch, None
        self._apply()
        if before is None:
            return None
        return "; ".join([*said, *_changed_rate(batch_before, rate.batch, peak_before, rate.peak)]) or None

    def _change(self, before: Plan, plan: Plan, place: Place, warmup: float) -> str:
        """Take another plan; says what that does."""
        left, share = plan.steps_left(*place), self.share
        extended = (before.epochs, before.steps) != (plan.epochs, plan.steps)
        how = self.curve.on_extension if extended else "keep"
        what = _what_changed(before, plan, extended)
        was = self.peak * self.factor()
        if how == "restart":
            self.offset, self.total, self.warmup = -float(self.last_epoch), left, min(warmup, left)
            return f"{what}: the schedule begins again, with its warm-up, over the {left:g} steps that are left"
        if how == "replan":
            self.total, self.warmup = plan.steps_left(0, 0, 0), warmup
            self.offset = self.total - left - self.last_epoch
            now = self.peak * self.factor()
            return (
                f"{what}: the learning rate goes from {was:.3g} to {now:.3g}, where it would be had it been so planned"
            )
        choices = " (optim.on_extension: keep; the other choices are replan and restart)" if extended else ""
        if share >= 1:
            self.warmup, self.total = 0.0, self.last_epoch + left
            self.offset = left
            return f"{what}: the schedule has ended, and the learning rate stays at {was:.3g}{choices}"
        old_total = self.total or 1
        self.total = left / (1 - share)
        self.warmup *= self.total / old_total
        self.offset = self.total - left - self.last_epoch
        return f"{what}: the schedule goes on at {share:.0%} of it, and the rest is spread over {left:g} steps{choices}"

    def _guess(self, plan: Plan, place: Place, rate: Rate) -> Plan:
        """The plan that a checkpoint without one was written under, and the schedule that went with it."""
        factor, self._older = self._older or 0.0, None
        left, whole = plan.steps_left(*place), plan.steps_left(0, 0, 0)
        self.offset, self.total, self.warmup = 0.0, whole, rate.warmup
        if math.isclose(factor, self.factor(), rel_tol=1e-6):
            return plan
        done = whole - left  # what a run under the present plan would have done here
        if done == self.last_epoch:
            unknown = plan._replace(epochs=-2) if plan.epochs >= 0 else plan._replace(steps=-2)  # of another length
        else:
            unknown = plan._replace(batches=math.nan)
        warm = done < rate.warmup
        share = None if warm else self.curve.share_at(factor, self.peak)
        share = done / whole if share is None and whole else share or 0.0
        self.total = self.last_epoch / share if share else whole
        self.warmup = rate.warmup * self.total / whole if whole else 0.0
        return unknown

    def _set_peak(self, peak: float) -> None:
        if peak != self.peak:
            self.base_lrs = [base * (peak / self.peak) for base in self.base_lrs]
            self.peak = peak

    def _apply(self) -> None:
        """Set the rates of the present step again."""
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=False):
            group["initial_lr"] = base
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    # -- checkpoints -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: where the schedule is, and the plan that it follows."""
        names = ("last_epoch", "base_lrs", "_step_count", "_last_lr", "peak", "batch", "offset", "total", "warmup")
        plan = None if self.plan is None else {**self.plan._asdict(), "accumulation": list(self.plan.accumulation)}
        return {**{name: getattr(self, name) for name in names}, "plan": plan}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a schedule where it was; its peak rate stays the one that this run's settings give.

        Raises:
            CheckpointError: If the state is not one of ours.
        """
        try:
            self._load(state_dict)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise CheckpointError(
                f"--ckpt_path: the state of the learning rate's schedule cannot be used ({type(error).__name__}: "
                f"{error}); start from the weights alone with model.init_args.weights"
            ) from error

    def _load(self, state: dict[str, Any]) -> None:
        last_epoch, count = int(state["last_epoch"]), int(state["_step_count"])
        bases, rates = [[float(rate) for rate in state[name]] for name in ("base_lrs", "_last_lr")]
        if last_epoch < 0 or not bases or not all(math.isfinite(rate) and rate >= 0 for rate in (*bases, *rates)):
            raise ValueError("numbers out of range")
        self.last_epoch, self._step_count, self._last_lr = last_epoch, count, list(rates)
        if "plan" not in state:  # 0.1
            if "lr_lambdas" not in state:
                raise ValueError("it is another schedule's, such as StochasticWeightAveraging's")
            if last_epoch:
                self._older = rates[0] / bases[0] if bases[0] else 1.0
                self._set_loaded_peak(self.peak * bases[0] / float(self.base_lrs[0]))
            return
        self._set_loaded_peak(float(state["peak"]))
        self.batch = None if state["batch"] is None else int(state["batch"])
        self.total = None if state["total"] is None else float(state["total"])
        self.offset, self.warmup = float(state["offset"]), float(state["warmup"])
        self.plan, plan = None, state["plan"]
        if plan is not None:
            accumulation = tuple((int(first), int(factor)) for first, factor in plan["accumulation"])
            self.plan = Plan(int(plan["epochs"]), int(plan["steps"]), float(plan["batches"]), accumulation)
            if not accumulation or accumulation[0][0] != 0 or min(factor for _, factor in accumulation) < 1:
                raise ValueError("numbers out of range")

    def _set_loaded_peak(self, peak: float) -> None:
        if not (math.isfinite(peak) and peak > 0):
            raise ValueError("numbers out of range")
        self._set_peak(peak)


def _what_changed(before: Plan, plan: Plan, extended: bool) -> str:
    if not extended:
        return "the run takes another number of steps"
    known = min(before.epochs, before.steps) >= -1
    return f"the run's length is {_limit(plan)}" + (f" instead of {_limit(before)}" if known else ", which is another")


def _limit(plan: Plan) -> str:
    parts = [f"{plan.epochs} epochs" if plan.epochs >= 0 else "", f"{plan.steps} steps" if plan.steps >= 0 else ""]
    return " or ".join(part for part in parts if part)


def _changed_rate(batch_before: int | None, batch: int | None, peak_before: float, peak: float) -> list[str]:
    said = []
    if batch_before is not None and batch is not None and batch_before != batch:
        said.append(f"global batch {batch_before} -> {batch}")
    if not math.isclose(peak_before, peak, rel_tol=1e-12):
        said.append(f"peak learning rate {peak_before:.3g} -> {peak:.3g}")
    elif said:
        said.append(f"the peak learning rate stays {peak:.3g} (optim.lr_batch: 0)")
    return said
