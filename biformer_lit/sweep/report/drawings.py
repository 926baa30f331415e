"""Every chart of a report described once, for the page (:mod:`.charts`) and for the pictures (:mod:`.figures`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.load import uneven_load
from biformer_lit.sweep.report.series import (
    COSTS,
    ROWS,
    Curve,
    Parallel,
    compared,
    interactions,
    main_effects,
    parallel_axes,
    pareto,
    scale_of,
)
from biformer_lit.sweep.spec.quantities import Axis, Quantity


@dataclass(frozen=True)
class Points:
    """A point for each cell.

    Args:
        x: Places of the points; with ``rows`` of the drawing, their values.
        y: Values of the points, or the rows that they stand in.
        cells: Theirs.
        minus: How far the error bar reaches below; NaN for none.
        plus: How far it reaches above.
        name: In the legend.
        marked: Whether they stand out, as the baseline does.
    """

    x: list[float]
    y: list[float] | list[str]
    cells: list[str]
    minus: list[float]
    plus: list[float]
    name: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Front:
    """A line through the points that no other beats."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Band:
    """A cell's course over the epochs, with a standard deviation to either side; NaN for none."""

    x: list[int]
    y: list[float]
    sd: list[float]
    cell: str
    name: str


@dataclass(frozen=True)
class Means:
    """Means of labels with their intervals, joined by a line.

    Args:
        labels: Along the x axis.
        y: Means.
        minus: How far the interval reaches below; NaN for none.
        plus: How far it reaches above.
        name: In the legend, if there are several.
    """

    labels: list[str]
    y: list[float]
    minus: list[float]
    plus: list[float]
    name: str = ""


@dataclass(frozen=True)
class Polyline:
    """A cell's way through parallel axes, at 0 to 1 of each; ``rank`` is 1 for the best cell."""

    y: list[float]
    cell: str
    rank: float


@dataclass(frozen=True)
class Bars:
    """A bar for each label, to the right."""

    labels: list[str]
    x: list[float]


Marks: TypeAlias = Points | Front | Band | Means | Polyline | Bars


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Args:
        x: Title of the x axis in the page.
        x_picture: The same in the picture, where the rest of the page is not at hand.
        marks: What is drawn; marks of one kind have different colours, in the order of the palette.
    """

    x: str
    x_picture: str
    marks: Sequence[Marks]


@dataclass(frozen=True)
class Drawing:
    """A chart.

    Args:
        name: Of the file and of the element of the page.
        title: Above it in the page.
        caption: Of the picture in the text.
        text: What a reader who does not see it needs.
        panels: Pairs of axes that share the y axis.
        y: Title of the y axis; "" if its rows say what they are, or parallel axes do.
        rows: Names of rows, from the top.
        axes: Parallel axes, if there are any.
    """

    name: str
    title: str
    caption: str
    text: str
    panels: Sequence[Panel]
    y: str = ""
    rows: Sequence[str] = ()
    axes: Sequence[Parallel] = ()


def drawings(content: Content, curves: Sequence[Curve]) -> list[Drawing]:
    """Describe every chart that a study with these learning curves has."""
    found = [_differences(content), *(_against_cost(content, cost, axis) for cost, axis in COSTS)]
    found += [_curves(content, curves), _main_effects(content), _interactions(content)]
    found += [_parallel(content), _importances(content)]
    return [drawing for drawing in found if drawing is not None]


def _floats(values: pd.Series) -> list[float]:
    return [math.nan if math.isnan(value) else float(value) for value in values.astype(float)]


def _differences(content: Content) -> Drawing | None:
    rows, baseline, unit = compared(content), content.baseline, content.unit
    if rows.empty or baseline is None:
        return None
    middle, cells = unit.scale * rows["difference"], list(rows["cell"])
    minus, plus = middle - unit.scale * rows["low"], unit.scale * rows["high"] - middle
    text = f"Difference of each cell to {baseline['cell']} with its t interval; the table has the numbers."
    if content.table["pairs"].gt(0).sum() > ROWS:
        text += f" Shown are the {ROWS} cells with the best means."
    title = unit.difference_title
    named = title.replace(unit.metric, f"{unit.metric} to {baseline['cell']}")
    points = Points(_floats(middle), cells, cells, _floats(minus), _floats(plus))
    return Drawing(
        "differences", "Difference to the baseline", "Differences to the baseline with their 95 % t intervals", text,
        [Panel(title, named, [points])], rows=cells,
    )  # fmt: skip


def _against_cost(content: Content, cost: Quantity, axis: Axis) -> Drawing | None:
    rows = content.table.dropna(subset=[cost.name, "mean"])
    if rows.empty:
        return None
    unit = content.unit
    front = rows.loc[pareto(rows, cost, content.spec.objective.mode)]
    by, named = scale_of(axis, rows[cost.name])

    def points(part: pd.DataFrame, name: str, *, marked: bool) -> Points:
        sd = _floats(unit.scale * part["sd"])
        x, y = _floats(by * part[cost.name].astype(float)), _floats(unit.scale * part["mean"])
        return Points(x, y, list(part["cell"]), sd, sd, name, marked)

    is_baseline = rows["baseline"].fillna(False)
    marks: list[Marks] = [
        Front(_floats(by * front[cost.name].astype(float)), _floats(unit.scale * front["mean"])),
        points(rows[~is_baseline], "cells", marked=False),
    ]
    if is_baseline.any():
        marks.append(points(rows[is_baseline], "baseline", marked=True))
    names = ", ".join(front["cell"].head(ROWS))
    text = f"Cells that none beats without costing more (Pareto front): {names}. Bars: standard deviation over seeds."
    if cost.by_load and (load := uneven_load(content)):
        text = f"{load} {text}"
    title = f"{unit.metric} against {axis.title}"
    caption = f"{title}; the line is the Pareto front"
    return Drawing(axis.figure, title, caption, text, [Panel(named, named, marks)], unit.title)


def _curves(content: Content, curves: Sequence[Curve]) -> Drawing | None:
    if not any(len(curve.epochs) > 1 for curve in curves):
        return None
    scale = content.unit.scale
    marks = [
        Band(
            curve.epochs,
            [scale * value for value in curve.mean],
            [scale * value for value in curve.sd],
            curve.cell,
            f"{curve.cell} (n={curve.seeds})",
        )
        for curve in curves
    ]
    return Drawing(
        "learning_curves", "Learning curves", "Learning curves, mean and standard deviation over seeds",
        "The baseline and the best cells; bands are one standard deviation over seeds to either side.",
        [Panel("epoch", "epoch", marks)], content.unit.title,
    )  # fmt: skip


def _means(rows: pd.DataFrame, labels: Sequence[str], scale: float, name: str = "") -> Means:
    middle = scale * rows["mean"]
    minus, plus = middle - scale * rows["mean_low"], scale * rows["mean_high"] - middle
    return Means(list(labels), _floats(middle), _floats(minus), _floats(plus), name)


def _main_effects(content: Content) -> Drawing | None:
    found = main_effects(content)
    if not found:
        return None
    panels = [
        Panel(factor, factor, [_means(rows, list(rows["labels"]), content.unit.scale)])
        for factor, rows in found.items()
    ]
    return Drawing(
        "main_effects", "Main effects", "Means of each factor's labels with their intervals",
        "Mean of each label over all labels of the other factors, with its interval.", panels, content.unit.title,
    )  # fmt: skip


def _interactions(content: Content) -> Drawing | None:
    found = interactions(content)
    if not found:
        return None
    panels = []
    for (first, second), rows in found.items():
        marks = [
            _means(part, list(part["first"]), content.unit.scale, f"{second}={label}")
            for label, part in rows.groupby("second", sort=False)
        ]
        panels.append(Panel(f"{first} by {second}", first, marks))
    return Drawing(
        "interactions", "Two-way interactions", "Means of each pair of labels",
        "Mean of each pair of labels: lines that are not parallel show an interaction.", panels, content.unit.title,
    )  # fmt: skip


def _parallel(content: Content) -> Drawing | None:
    if content.spec.plan != "search":
        return None
    rows, axes = parallel_axes(content)
    if rows.empty:
        return None
    ranks = (rows["mean"] * (1 if content.spec.objective.mode == "max" else -1)).rank(pct=True)
    marks = [
        Polyline([axis.positions[order] for axis in axes], cell, rank)
        for order, (cell, rank) in enumerate(zip(rows["cell"], ranks, strict=True))
    ]
    text = "A line for each cell of the search, through its parameters to its result; better ones are darker blue."
    return Drawing(
        "parallel_coordinates", "All cells of the search", "All cells of the search", text,
        [Panel("", "", marks)], axes=axes,
    )  # fmt: skip


def _importances(content: Content) -> Drawing | None:
    found = content.importances
    if found is None or found.empty:
        return None
    trials, labels = found["trials"].iloc[0], list(found["parameter"])
    return Drawing(
        "importances", "Importance of the parameters", "How much of the variance each parameter explains",
        f"Share of the variance that each parameter explains, by fANOVA over {trials} trials.",
        [Panel("share of the variance", f"share of the variance explained (fANOVA over {trials} trials)",
               [Bars(labels, _floats(found["importance"]))])],
        rows=labels,
    )  # fmt: skip
