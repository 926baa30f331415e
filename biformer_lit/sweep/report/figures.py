"""The drawings as pictures, PNG and SVG, for papers and for the Markdown report."""

import math
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from biformer_lit.common.files import replacing
from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.drawings import Band, Bars, Drawing, Front, Marks, Means, Panel, Points, Polyline
from biformer_lit.sweep.report.series import Parallel
from biformer_lit.text.fonts import drawable, drawing

# Okabe and Ito's colours, told apart without colour vision
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1")
_NAMED = 12  # points with their names beside them: more would cover each other
_SHORT, _LONGEST = 24, 120  # characters of a label and of a title
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "biformer_lit",  # the same file for the same figure
    "savefig.dpi": 150,
    "legend.frameon": False,
}


def write_figures(content: Content, drawn: Sequence[Drawing], folder: Path) -> dict[str, str]:
    """Write every drawing of a study as PNG and SVG.

    Args:
        content: The study.
        drawn: Its drawings.
        folder: Made if it is not there; gets NAME.png and NAME.svg.

    Returns:
        Name to what it shows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = {}
    with mpl.rc_context(STYLE), drawing(_texts(content)):
        for one in drawn:
            save_figure(picture(one), folder / one.name)
            shown[one.name] = one.caption
    return shown


def _texts(content: Content) -> list[str]:
    """Every text of the study's own that a figure may hold."""
    labels = [label for factor in content.spec.factors.values() for label in factor]
    return [*content.table["cell"], *content.factors, *labels, content.unit.metric]


def save_figure(figure: Figure, stem: Path) -> None:
    """Write a figure as ``stem.png`` and ``stem.svg``, the same files for the same figure."""
    for kind in ("png", "svg"):
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        with replacing(stem.with_name(f"{stem.name}.{kind}")) as path, mpl.rc_context(STYLE):
            figure.savefig(path, format=kind, bbox_inches="tight", metadata=metadata)


def picture(drawn: Drawing) -> Figure:
    """Return a drawing as matplotlib's figure."""
    panels = drawn.panels
    lines, columns, size = _grid(drawn)
    figure = Figure(figsize=size)
    places = figure.subplots(lines, columns, sharey=len(panels) > 1, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        counts: dict[type, int] = {}
        for marks in sorted(panel.marks, key=lambda one: one.rank if isinstance(one, Polyline) else 0.0):
            order = counts[type(marks)] = counts.get(type(marks), -1) + 1
            _draw(marks, axes, order)
        axes.set_xlabel(drawable(panel.x_picture, _LONGEST))
        _finish(axes, drawn, panel)
    for axes in places[len(panels) :]:
        axes.remove()
    if isinstance(first := panels[0].marks[0], Means) and first.name:
        figure.supylabel(drawable(drawn.y), fontsize=9)
    elif drawn.y:
        places[0].set_ylabel(drawable(drawn.y))
    return figure


def _grid(drawn: Drawing) -> tuple[int, int, tuple[float, float]]:
    """Lines and columns of panels, and the picture's size in inches."""
    first, count = drawn.panels[0].marks[0], len(drawn.panels)
    if drawn.axes:
        return 1, 1, (1.6 * len(drawn.axes) + 1, 3.6)
    if drawn.rows:
        rows = 0.3 * len(drawn.rows)
        return 1, 1, (5, 0.8 + rows) if isinstance(first, Bars) else (6.5, 0.9 + rows)
    if isinstance(first, Means) and not first.name:
        return 1, count, (2.2 * count + 1, 3.2)
    if isinstance(first, Means):
        columns = min(3, count)
        lines = math.ceil(count / columns)
        return lines, columns, (2.8 * columns + 1, 3 * lines)
    return 1, 1, (6.5 if isinstance(first, Band) else 6, 4)


def _has_legend(panel: Panel) -> bool:
    return any(isinstance(marks, Band | Means) and marks.name for marks in panel.marks)


def _finish(axes: Any, drawn: Drawing, panel: Panel) -> None:
    """Set what the marks of a panel ask of its axes."""
    first = panel.marks[0]
    if isinstance(first, Band):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if drawn.rows and isinstance(first, Points):
        axes.axvline(0, color="0.3", linewidth=1, zorder=1)
    elif isinstance(first, Front):
        _name_points(axes, [marks for marks in panel.marks if isinstance(marks, Points)])
    if drawn.axes:
        _parallel_axes(axes, drawn.axes)
    if _has_legend(panel):
        axes.legend(fontsize=7)


def _name_points(axes: Any, groups: Sequence[Points]) -> None:
    if sum(len(marks.cells) for marks in groups) > _NAMED:
        return
    for marks in groups:
        for cell, x, y in zip(marks.cells, marks.x, marks.y, strict=True):
            axes.annotate(drawable(cell), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=7)


def _parallel_axes(axes: Any, coordinates: Sequence[Parallel]) -> None:
    for i, axis in enumerate(coordinates):
        axes.axvline(i, color="0.4", linewidth=0.8)
        for position, text in axis.ticks:
            axes.annotate(
                drawable(text, _SHORT), (i, position), xytext=(3, 0), textcoords="offset points", fontsize=7,
                va="center",
            )  # fmt: skip
    axes.set_xticks(range(len(coordinates)), [drawable(axis.name, _SHORT) for axis in coordinates])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


@singledispatch
def _draw(marks: Marks, _axes: Any, _order: int) -> None:
    """Draw marks, the ``order``-th of their kind in these axes."""
    raise TypeError(type(marks))


@_draw.register
def _(marks: Points, axes: Any, _order: int) -> None:
    if any(isinstance(value, str) for value in marks.y):
        at, error = np.arange(len(marks.y))[::-1], _ends(marks)
        axes.errorbar(marks.x, at, xerr=error, fmt="o", color=COLOURS[1], ecolor=COLOURS[1], capsize=3)
        axes.set_yticks(at, list(map(drawable, marks.y)))
        return
    colour, marker, size = (COLOURS[2], "*", 10) if marks.marked else (COLOURS[1], "o", 5)
    axes.errorbar(marks.x, marks.y, yerr=_ends(marks), fmt=marker, color=colour, markersize=size, capsize=2)


@_draw.register
def _(marks: Front, axes: Any, _order: int) -> None:
    axes.plot(marks.x, marks.y, "-", color="0.6", zorder=1)


@_draw.register
def _(marks: Band, axes: Any, order: int) -> None:
    colour, middle, sd = COLOURS[order % len(COLOURS)], np.array(marks.y), np.nan_to_num(np.array(marks.sd))
    axes.plot(marks.x, middle, color=colour, label=drawable(marks.name, _LONGEST), linewidth=1.4)
    axes.fill_between(marks.x, middle - sd, middle + sd, color=colour, alpha=0.15, linewidth=0)


@_draw.register
def _(marks: Means, axes: Any, order: int) -> None:
    places, colour = range(len(marks.labels)), COLOURS[1 + order % (len(COLOURS) - 1)]
    label = drawable(marks.name) if marks.name else None
    axes.errorbar(places, marks.y, yerr=_ends(marks), fmt="o-", color=colour, capsize=3, label=label)
    axes.set_xticks(places, [drawable(label, _SHORT) for label in marks.labels], fontsize=7)
    axes.margins(x=0.2)


@_draw.register
def _(marks: Polyline, axes: Any, _order: int) -> None:
    axes.plot(marks.y, color=mpl.colormaps["viridis"](marks.rank), alpha=0.8, linewidth=1.2)


@_draw.register
def _(marks: Bars, axes: Any, _order: int) -> None:
    axes.barh(list(map(drawable, marks.labels))[::-1], marks.x[::-1], color=COLOURS[1])


def _ends(marks: Points | Means) -> Any:
    """Lengths of error bars below and above, NaN where they are unknown; (2, points)."""
    return np.abs(np.array([marks.minus, marks.plus]))
