"""Cells of a study, each with a name and the settings that make it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from biformer_lit.errors import ConfigError
from biformer_lit.sweep.spec.cell_labels import label_of, slug
from biformer_lit.sweep.spec.study_spec import StudySpec
from biformer_lit.text.dotted import plain_key

_LONGEST = 180  # of a folder's name, which file systems limit to 255 bytes; a digest follows
_DIGITS = 6


@dataclass(frozen=True)
class Cell:
    """One network and recipe of a study, to be trained with each seed.

    Args:
        name: Name of the cell, unique in its study and usable in a folder's name.
        factors: Factor to label, for tables; {"cell": name} where cells are listed.
        overrides: Dotted key to value.
        baseline: Whether it is the cell that the others are compared with.
    """

    name: str
    factors: dict[str, str]
    overrides: dict[str, Any]
    baseline: bool = False


def plan_cells(spec: StudySpec) -> list[Cell]:
    """The cells of a study in order; of a search the baseline alone, for the others are drawn later.

    Raises:
        ConfigError: If two cells have the same settings, or a name is too long for a folder.
    """
    if spec.plan == "cells":
        cells = [
            Cell(slug(name), {"cell": name}, dict(settings), name == spec.baseline)
            for name, settings in spec.cells.items()
        ]
    else:
        cells = [_of_labels(spec, labels) for labels in _combinations(spec)]
    _check(cells)
    return cells


def search_cell(spec: StudySpec, params: Mapping[str, Any]) -> Cell:
    """The cell of drawn parameters.

    Numbers are rounded to six significant digits, so that the cell's name says exactly what was run.

    Args:
        spec: A study with plan search.
        params: Factor to label and name in ``space`` to number, all of them.
    """
    labels = {factor: label_of(params[factor]) for factor in spec.factors}
    overrides = _overrides(spec, labels)
    for name, drawn in spec.space.items():
        value = int(params[name]) if drawn.integer else float(f"{float(params[name]):.{_DIGITS}g}")
        overrides[drawn.key] = value
        labels[name] = f"{value:d}" if isinstance(value, int) else f"{value:.{_DIGITS}g}"
    return Cell(_name(labels), labels, overrides)


def _combinations(spec: StudySpec) -> list[dict[str, str]]:
    """Factor to label, for each cell that is made of factors."""
    baseline = dict(spec.baseline) if isinstance(spec.baseline, dict) else {}
    if spec.plan == "factorial":
        return [dict(zip(spec.factors, labels, strict=True)) for labels in itertools.product(*spec.factors.values())]
    if spec.plan == "search":
        return [] if spec.baseline is None else [baseline]
    others = [
        {**baseline, factor: label}
        for factor, labels in spec.factors.items()
        for label in labels
        if label != baseline[factor]
    ]
    return [baseline, *others]


def _of_labels(spec: StudySpec, labels: dict[str, str]) -> Cell:
    is_baseline = labels == spec.baseline
    named = labels
    if spec.plan == "one_at_a_time" and isinstance(spec.baseline, dict):
        named = {factor: label for factor, label in labels.items() if label != spec.baseline[factor]}
    if spec.plan == "search":
        named = {}
    ordered = {factor: labels[factor] for factor in spec.factors}
    return Cell(_name(named) or "baseline", ordered, _overrides(spec, labels), is_baseline)


def _overrides(spec: StudySpec, labels: Mapping[str, str]) -> dict[str, Any]:
    return {key: value for factor in spec.factors for key, value in spec.factors[factor][labels[factor]].items()}


def _name(labels: Mapping[str, str]) -> str:
    return ",".join(f"{slug(factor)}={slug(label)}" for factor, label in labels.items())


def _check(cells: list[Cell]) -> None:
    for i, cell in enumerate(cells):
        if len(cell.name) > _LONGEST:
            raise ConfigError(f"cell {cell.name} has a name too long for a folder; shorten factors and labels")
        for other in cells[:i]:
            if _plain(cell) == _plain(other):
                raise ConfigError(f"cells {other.name} and {cell.name} have the same settings; remove or change one")


def _plain(cell: Cell) -> dict[str, Any]:
    return {plain_key(key): value for key, value in cell.overrides.items()}
