"""Specification of a study: one question, the cells that answer it, and how each of them is trained."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.cell_labels import check_names, check_settings
from biformer_lit.sweep.spec.fields import check_known
from biformer_lit.sweep.spec.quantities import BOUNDED
from biformer_lit.sweep.spec.study_groups import Budget, Objective, Range, Search
from biformer_lit.text.dotted import plain_key

Plan = Literal["factorial", "one_at_a_time", "cells", "search"]
_NUMBER = re.compile(r"\d+e?\d*")
_PARTS: dict[str, tuple[str, ...]] = {  # what each plan is made of
    "factorial": ("factors",),
    "one_at_a_time": ("factors",),
    "cells": ("cells",),
    "search": ("factors", "space"),
}


@dataclass(frozen=True)
class StudySpec:
    """A study, complete and checked.

    Args:
        name: Name of the study and of its folder.
        question: The question it answers.
        base: Recipes or config files, merged in order like several ``--config``.
        plan: How cells are made: all combinations of the factors; the baseline and each other label of one factor at a
            time; listed cells; or a search.
        settings: Dotted key to value, for all cells; ``set`` in a file.
        factors: Factor to label to {dotted key: value}.
        cells: Cells of plan cells: name to {dotted key: value}.
        baseline: The cell that the others are compared with: a label for each factor, or the name of a listed cell. In
            a search, labels of the factors ({} if there are none), beside the base's own values of what ``space``
            varies.
        space: What a search varies besides the factors.
        seeds: Seeds that each cell is trained with.
        objective: The figure that cells are compared by.
        budget: How long things may take.
        search: How a search goes about it.
        constraints: For macs and parameters, at most this many times the baseline's.
        retries: How often a trial that crashed or was killed is tried again; interruptions do not count.
        storage: Where Optuna keeps the study, by default a file in its folder.

    Raises:
        ConfigError: On a field, or a combination of fields, that cannot work.
    """

    name: str
    question: str
    base: tuple[str, ...]
    plan: Plan
    settings: dict[str, Any] = field(default_factory=dict)
    factors: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    baseline: dict[str, str] | str | None = None
    space: dict[str, Range] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    objective: Objective = field(default_factory=Objective)
    budget: Budget = field(default_factory=Budget)
    search: Search = field(default_factory=lambda: Search(prune=False))
    constraints: dict[str, float] = field(default_factory=dict)
    retries: int = 1
    storage: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work or does not go together."""
        _check_scalars(self)
        _check_plan(self)
        _check_settings(self)
        _check_baseline(self)
        _check_constraints(self)

    def as_dict(self) -> dict[str, Any]:
        """The study as plain values, complete, in the form of a study file."""
        values = asdict(self)
        values["set"] = values.pop("settings")
        values["base"], values["seeds"] = list(self.base), list(self.seeds)
        if self.plan != "search":
            values["search"] = {"prune": False}
        return values

    def digest(self) -> str:
        """12 hex digits, the same for studies that differ at most in name, storage and retries."""
        apart = ("name", "storage", "retries")
        return digest_of({key: value for key, value in self.as_dict().items() if key not in apart})

    def varied(self) -> Iterator[tuple[str, str]]:
        """Each setting that a factor, a range or a listed cell varies, by its plain key, and what varies it."""
        for factor, labels in self.factors.items():
            for key in dict.fromkeys(plain_key(key) for settings in labels.values() for key in settings):
                yield key, f"factors.{factor}"
        for name, drawn in self.space.items():
            yield plain_key(drawn.key), f"space.{name}"
        for name, settings in self.cells.items():
            for key in settings:
                yield plain_key(key), f"cells.{name}"


def digest_of(values: Any) -> str:
    """12 hex digits of the SHA-256 of plain values, never such that YAML or a table reads them as a number (123e45)."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digits = hashlib.sha256(text.encode()).hexdigest()
    return next(digits[i : i + 12] for i in range(len(digits)) if not _NUMBER.fullmatch(digits[i : i + 12]))


def _check_scalars(spec: StudySpec) -> None:
    check_names("name", [spec.name])
    for name in ("question", "base", "seeds"):
        if not getattr(spec, name):
            raise ConfigError(f"{name}: is empty; give it")
    twice = [seed for i, seed in enumerate(spec.seeds) if seed in spec.seeds[:i]]
    if twice:
        raise ConfigError(f"seeds: {twice[0]} is given twice; remove one")
    if not all(0 <= seed < 2**32 for seed in spec.seeds):
        raise ConfigError(f"seeds: {list(spec.seeds)} must be at least 0 and below 2**32")
    if spec.retries < 0:
        raise ConfigError(f"retries={spec.retries} must be at least 0")


def _check_plan(spec: StudySpec) -> None:
    parts = _PARTS[spec.plan]
    for name in ("factors", "cells", "space"):
        if getattr(spec, name) and name not in parts:
            raise ConfigError(f"{name}: plan {spec.plan} has none, it takes {' and '.join(parts)}; remove one of them")
    if not any(getattr(spec, name) for name in parts):
        raise ConfigError(f"{parts[-1]}: is empty; plan {spec.plan} needs {' or '.join(parts)}")
    if spec.plan == "search" and spec.budget.trials is None:
        raise ConfigError("budget.trials: is missing; say how many cells the search tries")
    if spec.plan != "search" and spec.budget.trials is not None:
        raise ConfigError(f"budget.trials: plan {spec.plan} runs all its cells; remove it")
    if spec.plan != "search" and spec.search != Search(prune=False):
        reason = "stopped cells would bias the table" if spec.search.prune else "it belongs to plan search"
        raise ConfigError(f"search: plan {spec.plan} runs all its cells to the end ({reason}); remove it")


def _check_settings(spec: StudySpec) -> None:
    check_names("factors", [*spec.factors, *spec.space])
    check_names("cells", spec.cells)
    check_settings("set", spec.settings)
    for factor, labels in spec.factors.items():
        if not labels:
            raise ConfigError(f"factors.{factor}: has no labels; give each value a label")
        check_names(f"factors.{factor}", labels)
        for label, settings in labels.items():
            check_settings(f"factors.{factor}.{label}", settings)
    for name, settings in spec.cells.items():
        check_settings(f"cells.{name}", settings)
    for name, drawn in spec.space.items():
        check_settings(f"space.{name}.key", {drawn.key: drawn.low})
    for name in spec.space:
        if name in spec.factors:
            raise ConfigError(f"space: {name!r} is a name that factors has too; rename one")
    _check_owners(spec)


def _check_owners(spec: StudySpec) -> None:
    """Refuse a setting that two sides claim; the later one would win in silence."""
    owners: dict[str, str] = {}
    for key, owner in spec.varied():
        if not spec.cells and owners.setdefault(key, owner) != owner:
            raise ConfigError(f"{owner}: sets {key}, which {owners[key]} sets too; make one factor of both")
    if spec.budget.epochs is not None and "trainer.max_epochs" in {*map(plain_key, spec.settings), *owners}:
        raise ConfigError("budget.epochs: is given together with trainer.max_epochs; remove one")


def _check_baseline(spec: StudySpec) -> None:
    baseline = spec.baseline
    if baseline is None:
        if spec.plan == "one_at_a_time":
            raise ConfigError("baseline: is missing; give a label for each factor")
        return
    if spec.plan == "cells":
        if baseline not in spec.cells:
            raise ConfigError(f"baseline: {baseline!r} is not one of the cells {', '.join(spec.cells)}; name one")
        return
    if not isinstance(baseline, dict):
        raise ConfigError(f"baseline: {baseline!r} is not a label for each factor; write factor: label lines")
    check_known("baseline.", baseline, spec.factors)
    for factor, labels in spec.factors.items():
        if baseline.get(factor) not in labels:
            found = repr(baseline[factor]) if factor in baseline else "nothing"
            raise ConfigError(f"baseline.{factor}: {found} is not one of the labels {', '.join(labels)}; give one")


def _check_constraints(spec: StudySpec) -> None:
    check_known("constraints.", spec.constraints, BOUNDED)
    for name, most in spec.constraints.items():
        if not most > 0:
            raise ConfigError(f"constraints.{name}={most:g} must be above 0, as a multiple of the baseline's")
    if spec.constraints and spec.baseline is None:
        raise ConfigError("constraints: are multiples of the baseline's figures, and baseline is missing; give it")
