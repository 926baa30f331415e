"""The numbers behind the figures, once for the pictures and once for the page."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, stdev

import pandas as pd

from biformer_lit.running.history import read_epochs, standing_epochs
from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.spec.quantities import QUANTITIES, Axis, Quantity

ROWS = 40  # cells in a plot of differences
CURVES = 8  # cells whose learning curves are drawn: more cannot be told apart


COSTS = tuple((quantity, quantity.axis) for quantity in QUANTITIES if quantity.axis is not None)
"""Quantities that the objective is drawn against."""


def scale_of(axis: Axis, values: pd.Series) -> tuple[float, str]:
    """Return what to multiply values with so that they are short, and the axis's title with the unit."""
    if axis.unit:
        return 1.0, f"{axis.title} ({axis.unit})"
    return (1e-9, f"{axis.title} (G)") if values.max() >= 1e9 else (1e-6, f"{axis.title} (M)")


@dataclass(frozen=True)
class Curve:
    """The objective over the epochs, of one cell.

    Args:
        cell: Its name.
        epochs: The epochs that were validated.
        mean: Over the seeds that have the epoch.
        sd: Over the same; NaN for one seed.
        seeds: How many there are.
    """

    cell: str
    epochs: list[int]
    mean: list[float]
    sd: list[float]
    seeds: int


def pareto(points: pd.DataFrame, cost: Quantity, mode: str) -> list[int]:
    """Index of the cells that no other beats in the objective without costing more, by rising cost.

    Args:
        points: Cells, with the quantity's column and ``mean``.
        cost: The quantity.
        mode: Whether more or less of the objective is better.
    """
    sign = 1 if mode == "max" else -1
    rows = points.dropna(subset=[cost.name, "mean"])
    ordered = rows.assign(cost=rows[cost.name].astype(float) * (1 if cost.less else -1), gain=sign * rows["mean"])
    ordered = ordered.sort_values(["cost", "gain"], ascending=[True, False], kind="stable")
    front: list[int] = []
    best = -math.inf
    for index, gain in ordered["gain"].items():
        if gain > best:
            best = gain
            front.append(int(index))
    return front if cost.less else front[::-1]


def compared(content: Content) -> pd.DataFrame:
    """Rows of the cells that were compared to the baseline, in the order of the plan; of many, the best."""
    rows = content.table[content.table["pairs"].gt(0) & content.table["difference"].notna()]
    best = rows.sort_values("mean", ascending=content.spec.objective.mode == "min", kind="stable").head(ROWS)
    return rows.loc[sorted(best.index)]


def shown_cells(content: Content) -> list[str]:
    """Cells to draw curves of: the baseline and the best."""
    ranked = list(content.ranked()["cell"])
    first = [] if content.baseline is None else [content.baseline["cell"]]
    return [*first, *(cell for cell in ranked if cell not in first)][:CURVES]


def learning_curves(content: Content) -> list[Curve]:
    """The objective's metric over the epochs, of the baseline and the best cells."""
    metric = content.spec.objective.metric
    curves = []
    for cell in shown_cells(content):
        values: dict[int, list[float]] = {}
        folders = content.trial_folders(cell)
        for folder in folders.values():
            for line in standing_epochs(read_epochs(folder / "progress.jsonl")):
                value = float(line["metrics"].get(metric, math.nan))
                if math.isfinite(value):
                    values.setdefault(int(line["epoch"]), []).append(value)
        if values:
            epochs = sorted(values)
            sd = [stdev(values[epoch]) if len(values[epoch]) > 1 else math.nan for epoch in epochs]
            curves.append(Curve(cell, epochs, [mean(values[epoch]) for epoch in epochs], sd, len(folders)))
    return curves


def main_effects(content: Content) -> dict[str, pd.DataFrame]:
    """Factor to its labels' marginal means with intervals."""
    if content.effects is None:
        return {}
    main = content.effects[~content.effects["factors"].str.contains(":")]
    found = {str(name): rows for name, rows in main.groupby("factors", sort=False) if len(rows) > 1}
    return {name: rows.sort_values("labels", key=_places(content, name), kind="stable") for name, rows in found.items()}


def _places(content: Content, factor: str) -> Callable[[pd.Series], pd.Series]:
    """Makes labels into their places in the study file: that order is drawn, not that of training."""
    places = {label: place for place, label in enumerate(content.spec.factors.get(factor, {}))}
    return lambda labels: labels.map(places).fillna(len(places))


def interactions(content: Content) -> dict[tuple[str, str], pd.DataFrame]:
    """Pair of factors to the marginal means of their pairs of labels, with columns ``first`` and ``second``."""
    if content.effects is None:
        return {}
    names = list(content.spec.factors)
    found = {}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            rows = content.effects[content.effects["factors"] == f"{first}:{second}"]
            if rows.empty:
                continue
            # by their place, as a label may hold a colon: rows stand in the order of the labels
            seen = [list(dict.fromkeys(content.frame[f"factor:{name}"])) for name in (first, second)]
            pairs = [(a, b) for a in seen[0] for b in seen[1]]
            named = rows.assign(first=[a for a, _ in pairs], second=[b for _, b in pairs])
            for column, factor in (("second", second), ("first", first)):
                named = named.sort_values(column, key=_places(content, factor), kind="stable")
            found[first, second] = named
    return found


@dataclass(frozen=True)
class Parallel:
    """One axis of parallel coordinates.

    Args:
        name: What it shows.
        positions: Of each cell, 0 to 1; NaN where the cell has none.
        ticks: Position to text.
    """

    name: str
    positions: list[float]
    ticks: list[tuple[float, str]]


def parallel_axes(content: Content) -> tuple[pd.DataFrame, list[Parallel]]:
    """Cells with a result, and an axis for each parameter of a search and for the objective."""
    rows = content.table[content.table["mean"].notna()]
    axes = []
    for name in content.factors:
        labels = rows[f"factor:{name}"]
        drawn = content.spec.space.get(name)
        if drawn is None:
            known = sorted(labels.dropna().unique(), key=list(content.spec.factors.get(name, {})).index)
            place = {label: (i + 0.5) / len(known) for i, label in enumerate(known)}
            axes.append(
                Parallel(name, [place.get(label, math.nan) for label in labels], [(p, t) for t, p in place.items()])
            )
            continue
        numbers = pd.to_numeric(labels, errors="coerce").astype(float)
        low, high = (math.log10(end) if drawn.log else end for end in (drawn.low, drawn.high))
        at = [((math.log10(n) if drawn.log else n) - low) / (high - low) if n > 0 or not drawn.log else math.nan
              for n in numbers.fillna(math.nan)]  # fmt: skip
        inner = ((share, low + (high - low) * share) for share in (0, 0.25, 0.5, 0.75, 1))
        axes.append(Parallel(name, at, [(share, f"{10**value if drawn.log else value:.2g}") for share, value in inner]))
    values = rows["mean"].astype(float)
    low, span = values.min(), (values.max() - values.min()) or 1.0
    ticks = [(share, content.unit.number(low + share * span)) for share in (0, 0.5, 1)]
    axes.append(Parallel(content.unit.title, [(value - low) / span for value in values], ticks))
    return rows, axes
