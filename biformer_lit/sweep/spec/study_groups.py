"""Groups of settings of a study file: objective, budget, ranges and search."""

import math
from dataclasses import dataclass
from typing import Literal

from biformer_lit.errors import ConfigError


@dataclass(frozen=True)
class Objective:
    """The figure that cells are compared by.

    Args:
        metric: Its name as it is logged, such as val/acc1; a study file that leaves it out takes the task's.
        mode: Whether more (max) or less (min) of it is better; left out with metric, the task's.
        epoch: Which epoch counts: the best by this metric, or the last.
    """

    metric: str = "val/acc1"
    mode: Literal["max", "min"] = "max"
    epoch: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        """Refuse an empty name.

        Raises:
            ConfigError: Naming the field.
        """
        if not self.metric.strip():
            raise ConfigError("objective.metric is empty; give the name of a logged metric, such as val/acc1")


@dataclass(frozen=True)
class Budget:
    """Limits of a trial and of a study.

    Args:
        epochs: Epochs of each trial; None leaves trainer.max_epochs as it is.
        minutes: A trial that takes longer is stopped and counts as failed; None for no limit.
        trials: Cells that a search tries.
    """

    epochs: int | None = None
    minutes: float | None = None
    trials: int | None = None

    def __post_init__(self) -> None:
        """Refuse budgets of nothing.

        Raises:
            ConfigError: Naming the field.
        """
        for name in ("epochs", "trials"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"budget.{name}={value} must be at least 1")
        if self.minutes is not None and not (self.minutes > 0 and math.isfinite(self.minutes)):
            raise ConfigError(f"budget.minutes={self.minutes} must be above 0; leave it out for no limit")


@dataclass(frozen=True)
class Range:
    """A setting that a search varies within bounds.

    Args:
        key: The setting's dotted key.
        low: Smallest value.
        high: Largest value.
        log: Draw evenly on a logarithmic scale.
        step: Distance between the values drawn; None draws any value.
        integer: Draw whole numbers.
    """

    key: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    def __post_init__(self) -> None:
        """Refuse a range that nothing can be drawn from.

        Raises:
            ConfigError: Naming the field, without the range's own name.
        """
        bounds = (self.low, self.high, *(() if self.step is None else (self.step,)))
        if not all(math.isfinite(value) for value in bounds):
            raise ConfigError(f"low, high and step of {self.key} must be finite numbers")
        if self.low >= self.high:
            raise ConfigError(f"low={self.low:g} must be below high={self.high:g}")
        if self.log and self.low <= 0:
            raise ConfigError(f"low={self.low:g} must be above 0 on a logarithmic scale; raise it or set log to false")
        if self.step is not None and (self.step <= 0 or self.log):
            raise ConfigError(f"step={self.step:g} must be above 0, and cannot be combined with log; correct one")
        if self.integer and any(value != int(value) for value in bounds):
            raise ConfigError("integer needs whole numbers for low, high and step")


@dataclass(frozen=True)
class Search:
    """Settings of a search.

    Args:
        prune: Stop trials that fall behind the others.
        warmup_epochs: Epochs in which no trial is stopped.
        confirm: Seeds that the best cells are trained with at the end; 0 for none.
        top: How many of the best cells.
        sampler_seed: Seed of the choice of cells.
    """

    prune: bool = True
    warmup_epochs: int = 3
    confirm: int = 3
    top: int = 3
    sampler_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ConfigError: Naming the field.
        """
        for name, least in (("warmup_epochs", 0), ("confirm", 0), ("top", 1), ("sampler_seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"search.{name}={getattr(self, name)} must be at least {least}")
