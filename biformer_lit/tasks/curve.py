"""The form of a learning rate's schedule: a factor on the peak rate at each place."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

OnExtension: TypeAlias = Literal["keep", "replan", "restart"]
Shape: TypeAlias = Literal["cosine", "linear", "step"]


@dataclass(frozen=True)
class Curve:
    """The form of a schedule.

    Attributes:
        shape: How the rate falls.
        milestones: With step, the shares of the run after which the rate is divided by ten.
        warmup_lr: Rate of the first step.
        min_lr: Rate that cosine and linear end at.
        warms_up: Whether there is a warm-up.
        on_extension: What a run does whose length has changed.
    """

    shape: Shape
    milestones: tuple[float, ...]
    warmup_lr: float
    min_lr: float
    warms_up: bool
    on_extension: OnExtension

    def factor(self, place: float, total: float, warmup: float, peak: float) -> float:
        """Factor on the peak rate.

        Args:
            place: Steps that are done of the schedule.
            total: Steps of the schedule.
            warmup: Steps of its warm-up.
            peak: Peak learning rate.
        """
        start, end = self.warmup_lr / peak, min(self.min_lr / peak, 1.0)
        if place == 0:
            return start if self.warms_up else 1.0
        if self.shape == "step":
            return warmup_step(start, self.milestones, total, warmup)(place)
        kind = warmup_cosine if self.shape == "cosine" else warmup_linear
        return kind(start, end, total, warmup)(place)

    def share_at(self, factor: float, peak: float) -> float | None:
        """The share of the run at which a falling rate has this factor; None for steps, which do not tell it."""
        end = min(self.min_lr / peak, 1.0)
        if self.shape == "step" or end >= 1:
            return None
        height = min(max((factor - end) / (1 - end), 0.0), 1.0)
        return math.acos(2 * height - 1) / math.pi if self.shape == "cosine" else 1 - height


def warmup_cosine(start: float, end: float, total_steps: float, warmup_steps: float) -> Callable[[float], float]:
    """Factor on the peak rate at each step.

    The cosine is counted from the first step, and the warm-up lies over its beginning, as in timm and so in
    the released recipe.

    Args:
        start: Factor of the first step of the warm-up.
        end: Factor that the cosine ends at.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the warm-up.
    """
    return _after_warmup(start, end, total_steps, warmup_steps, lambda done: (1 + math.cos(math.pi * done)) / 2)


def warmup_linear(start: float, end: float, total_steps: float, warmup_steps: float) -> Callable[[float], float]:
    """The same with a straight line in the place of the cosine: the polynomial schedule of power 1.

    Args:
        start: Factor of the first step of the warm-up.
        end: Factor that the line ends at.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the warm-up.
    """
    return _after_warmup(start, end, total_steps, warmup_steps, lambda done: 1 - done)


def warmup_step(
    start: float, milestones: Sequence[float], total_steps: float, warmup_steps: float
) -> Callable[[float], float]:
    """The same, but constant between milestones, at each of which it is divided by ten.

    Args:
        start: Factor of the first step of the warm-up.
        milestones: Shares of the run.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the warm-up.
    """
    drops = [round(share * total_steps) for share in milestones]  # by steps: 8/12 of a run is not a float

    def factor(step: float) -> float:
        warm = start + (1 - start) * step / warmup_steps if step < warmup_steps else 1.0
        return float(warm * 0.1 ** sum(step >= drop for drop in drops))

    return factor


def _after_warmup(
    start: float, end: float, total_steps: float, warmup_steps: float, height: Callable[[float], float]
) -> Callable[[float], float]:
    """A schedule that goes down as ``height`` says of the share of the run that is done, with a warm-up before it."""

    def factor(step: float) -> float:
        if step < warmup_steps:
            return start + (1 - start) * step / warmup_steps
        return end + (1 - end) * height(min(step / max(total_steps, 1), 1.0))

    return factor
