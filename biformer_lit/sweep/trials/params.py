"""A trial's parameters as Optuna is told of them: numbers as numbers, and what may stand beside earlier trials.

Optuna compares a parameter's distribution with that of the study's first trial that has it: the bounds of numbers may
change, choices may not. Studies that version 0.1 began have numbers as choices of text, and go on so.
"""

import math
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from biformer_lit.sweep.trials.varied import Column


def value_of(column: Column, label: str) -> bool | float | str:
    """Return the value of a factor's label: a number, whole if its label is, a truth value, or text."""
    value = column.value(label)
    return int(value) if isinstance(value, float) and label.lstrip("+-").isdigit() else value


def distribution_of(column: Column, *, listed: bool = False) -> BaseDistribution:
    """The distribution of a factor.

    Args:
        column: The factor's.
        listed: Whether only its labels can be drawn, and nothing between them.
    """
    values = [value_of(column, label) for label in column.labels]
    if column.kind != "number" or listed:
        return CategoricalDistribution(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(min(values)), int(max(values)))
    return FloatDistribution(float(min(values)), float(max(values)))


def first_of(trials: Iterable[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The distribution of each parameter in the first trial that has it."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, kind in trial.distributions.items():
            found.setdefault(name, kind)
    return found


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Have a parameter drawn."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)  # noqa: S101 (there are no others)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def fitting(
    first: BaseDistribution | None, wanted: BaseDistribution, value: Any, label: str | None
) -> tuple[BaseDistribution, Any] | None:
    """The distribution and value that may stand beside earlier trials, None if Optuna allows none.

    Args:
        first: The distribution of the first trial that has the parameter, None if none has.
        wanted: The one that is right for the study as it is now.
        value: The parameter's.
        label: The factor's label that it stands for.
    """
    kind: BaseDistribution
    if isinstance(first, CategoricalDistribution):
        kind, told = first, value if _is_choice(value, first) else label
    elif isinstance(first, FloatDistribution) and isinstance(wanted, IntDistribution):
        kind, told = FloatDistribution(wanted.low, wanted.high), value
    elif isinstance(first, IntDistribution) and isinstance(wanted, FloatDistribution):
        kind, told = IntDistribution(math.floor(wanted.low), math.ceil(wanted.high)), value
    elif first is None or type(first) is type(wanted):
        kind, told = wanted, value
    else:
        return None
    return (kind, told) if _holds(kind, told) else None


def widened(first: BaseDistribution, value: Any, label: str | None) -> CategoricalDistribution:
    """Choices that hold a value that the first trial's do not."""
    if not isinstance(first, CategoricalDistribution):
        return CategoricalDistribution((value,))
    texts = all(isinstance(choice, str) for choice in first.choices)
    return CategoricalDistribution((*first.choices, label if texts and label is not None else value))


def _is_choice(value: Any, kind: CategoricalDistribution) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in kind.choices)


def _holds(kind: BaseDistribution, value: Any) -> bool:
    if isinstance(kind, CategoricalDistribution):
        return _is_choice(value, kind)
    if isinstance(value, str | bool) or value is None:
        return False
    assert isinstance(kind, IntDistribution | FloatDistribution)  # noqa: S101 (there are no others)
    whole = isinstance(kind, FloatDistribution) or float(value).is_integer()
    return whole and kind.low <= value <= kind.high
