"""The figures as pictures, PNG and SVG, for papers and for the Markdown report."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from biformer_lit.common.files import replacing
from biformer_lit.sweep.report.content import Content
from biformer_lit.sweep.report.series import (
    COSTS,
    Curve,
    compared,
    interactions,
    main_effects,
    parallel_axes,
    pareto,
    scale_of,
)
from biformer_lit.sweep.spec.quantities import Axis, Quantity
from biformer_lit.text.fonts import drawable, drawing

# Okabe and Ito's colours, told apart without colour vision
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1")
_NAMED = 12  # points with their names beside them: more would cover each other
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


def write_figures(content: Content, curves: Sequence[Curve], folder: Path) -> dict[str, str]:
    """Draw every figure that the study has.

    Args:
        content: The study.
        curves: Its learning curves.
        folder: Made if it is not there; gets NAME.png and NAME.svg.

    Returns:
        Name to what it shows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = {}
    with mpl.rc_context(STYLE), drawing(_texts(content)):
        for name, title, figure in _all(content, curves):
            save_figure(figure, folder / name)
            shown[name] = title
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


def _all(content: Content, curves: Sequence[Curve]) -> Iterator[tuple[str, str, Figure]]:
    drawn: list[tuple[str, str, Figure | None]] = [
        ("differences", "Differences to the baseline with their 95 % t intervals", _differences(content))
    ]
    for cost, axis in COSTS:
        title = f"{content.unit.metric} against {axis.title}; the line is the Pareto front"
        drawn.append((axis.figure, title, _against_cost(content, cost, axis)))
    drawn += [
        ("learning_curves", "Learning curves, mean and standard deviation over seeds", _curves(content, curves)),
        ("main_effects", "Means of each factor's labels with their intervals", _main_effects(content)),
        ("interactions", "Means of each pair of labels", _interactions(content)),
        ("parallel_coordinates", "All cells of the search", _parallel(content)),
        ("importances", "How much of the variance each parameter explains", _importances(content)),
    ]
    for name, title, figure in drawn:
        if figure is not None:
            yield name, title, figure


def _differences(content: Content) -> Figure | None:
    rows = compared(content)
    if rows.empty:
        return None
    unit = content.unit
    figure = Figure(figsize=(6.5, 0.9 + 0.3 * len(rows)))
    axes = figure.add_subplot()
    middle = unit.scale * rows["difference"].to_numpy(dtype=float)
    ends = np.abs(unit.scale * rows[["low", "high"]].to_numpy(dtype=float).T - middle)
    at = np.arange(len(rows))[::-1]
    axes.axvline(0, color="0.3", linewidth=1)
    axes.errorbar(middle, at, xerr=np.nan_to_num(ends), fmt="o", color=COLOURS[1], ecolor=COLOURS[1], capsize=3)
    axes.set_yticks(at, list(map(drawable, rows["cell"])))
    baseline = "" if content.baseline is None else f" to {content.baseline['cell']}"
    axes.set_xlabel(drawable(unit.difference_title.replace(content.unit.metric, content.unit.metric + baseline), 120))
    return figure


def _against_cost(content: Content, cost: Quantity, axis: Axis) -> Figure | None:
    rows = content.table.dropna(subset=[cost.name, "mean"])
    if rows.empty:
        return None
    unit = content.unit
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    front = rows.loc[pareto(rows, cost, content.spec.objective.mode)]
    by, title = scale_of(axis, rows[cost.name])
    axes.plot(by * front[cost.name].astype(float), unit.scale * front["mean"], "-", color="0.6", zorder=1)
    for row in rows.to_dict("records"):
        x, y = by * float(row[cost.name]), unit.scale * row["mean"]
        sd = 0 if math.isnan(row["sd"]) else unit.scale * row["sd"]
        colour, marker = (COLOURS[2], "*") if row["baseline"] else (COLOURS[1], "o")
        axes.errorbar(x, y, yerr=sd or None, fmt=marker, color=colour, markersize=10 if marker == "*" else 5, capsize=2)
        if len(rows) <= _NAMED:
            axes.annotate(drawable(row["cell"]), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(title)
    axes.set_ylabel(drawable(unit.title))
    return figure


def _curves(content: Content, curves: Sequence[Curve]) -> Figure | None:
    if not any(len(curve.epochs) > 1 for curve in curves):
        return None
    unit = content.unit
    figure = Figure(figsize=(6.5, 4))
    axes = figure.add_subplot()
    for colour, curve in zip(COLOURS, curves, strict=False):
        middle, sd = unit.scale * np.array(curve.mean), unit.scale * np.nan_to_num(np.array(curve.sd))
        axes.plot(curve.epochs, middle, color=colour, label=f"{drawable(curve.cell)} (n={curve.seeds})", linewidth=1.4)
        axes.fill_between(curve.epochs, middle - sd, middle + sd, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(drawable(unit.title))
    axes.legend(fontsize=7)
    return figure


def _main_effects(content: Content) -> Figure | None:
    found = main_effects(content)
    if not found:
        return None
    figure = Figure(figsize=(2.2 * len(found) + 1, 3.2))
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    unit = content.unit
    for axes, (factor, rows) in zip(panels, found.items(), strict=True):
        _means(axes, list(rows["labels"]), rows, unit.scale, COLOURS[1], "")
        axes.set_xlabel(drawable(factor))
    panels[0].set_ylabel(drawable(unit.title))
    return figure


def _interactions(content: Content) -> Figure | None:
    found = interactions(content)
    if not found:
        return None
    unit = content.unit
    columns = min(3, len(found))
    lines = math.ceil(len(found) / columns)
    figure = Figure(figsize=(2.8 * columns + 1, 3 * lines))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes, ((first, second), rows) in zip(panels, found.items(), strict=False):
        for colour, (label, part) in zip(COLOURS[1:], rows.groupby("second", sort=False), strict=False):
            _means(axes, list(part["first"]), part, unit.scale, colour, f"{second}={label}")
        axes.set_xlabel(drawable(first))
        axes.legend(fontsize=7)
    for axes in panels[len(found) :]:
        axes.remove()
    figure.supylabel(drawable(unit.title), fontsize=9)
    return figure


def _means(axes: Any, labels: list[str], rows: pd.DataFrame, scale: float, colour: str, name: str) -> None:
    middle = scale * rows["mean"].to_numpy(dtype=float)
    ends = np.nan_to_num(np.abs(scale * rows[["mean_low", "mean_high"]].to_numpy(dtype=float).T - middle))
    axes.errorbar(
        range(len(labels)), middle, yerr=ends, fmt="o-", color=colour, capsize=3, label=drawable(name) if name else None
    )
    axes.set_xticks(range(len(labels)), [drawable(label, 24) for label in labels], fontsize=7)
    axes.margins(x=0.2)


def _parallel(content: Content) -> Figure | None:
    if content.spec.plan != "search":
        return None
    rows, coordinates = parallel_axes(content)
    if rows.empty:
        return None
    figure = Figure(figsize=(1.6 * len(coordinates) + 1, 3.6))
    axes = figure.add_subplot()
    sign = 1 if content.spec.objective.mode == "max" else -1
    ranks = (sign * rows["mean"]).rank(pct=True).to_numpy()
    places = np.array([axis.positions for axis in coordinates]).T
    for order in np.argsort(ranks):
        axes.plot(places[order], color=mpl.colormaps["viridis"](ranks[order]), alpha=0.8, linewidth=1.2)
    for i, axis in enumerate(coordinates):
        axes.axvline(i, color="0.4", linewidth=0.8)
        for position, text in axis.ticks:
            axes.annotate(
                drawable(text, 24), (i, position), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center"
            )
    axes.set_xticks(range(len(coordinates)), [drawable(axis.name, 24) for axis in coordinates])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    return figure


def _importances(content: Content) -> Figure | None:
    found = content.importances
    if found is None or found.empty:
        return None
    figure = Figure(figsize=(5, 0.8 + 0.3 * len(found)))
    axes = figure.add_subplot()
    axes.barh(list(map(drawable, found["parameter"]))[::-1], list(found["importance"])[::-1], color=COLOURS[1])
    axes.set_xlabel(f"share of the variance explained (fANOVA over {found['trials'].iloc[0]} trials)")
    return figure
