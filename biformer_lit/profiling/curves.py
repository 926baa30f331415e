"""The figure of cost against resolution."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from biformer_lit.profiling.scaling import CellCost, exponent

# Okabe and Ito's colours, which people of all colour visions tell apart, but for the yellow, too light for a line
_COLOURS = ("#D55E00", "#E69F00", "#000000", "#0072B2", "#009E73", "#CC79A7", "#56B4E9")
_MARKERS = "osD^vXP"
_DASHES = ("-", "--")


def draw_complexity(costs: Sequence[CellCost]) -> Figure:
    """Token interaction of stage 1 against its tokens, and all multiply-adds against the image's side, in log-log.

    The interaction is routing and attention together; the legend gives the power of the tokens it grows by.

    Args:
        costs: Costs of several cells, each from :func:`biformer_lit.profiling.scaling`.
    """
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    cells = list(dict.fromkeys(cost.cell for cost in costs))
    for i, cell in enumerate(cells):
        first = _by_tokens(costs, cell, "1")
        total = _by_tokens(costs, cell, "total")
        slope = exponent(first)
        style = {
            "color": _COLOURS[i % len(_COLOURS)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "linestyle": _DASHES[i % len(_DASHES)],
            "markevery": (0.15 * i / len(cells), 0.15),  # shares of the panel, so that markers of equal curves differ
            "zorder": 3 - i / len(cells),  # the first on top
            "label": _literal(cell) + ("" if math.isnan(slope) else f"  $(HW)^{{{slope:.2f}}}$"),
        }
        left.plot([c.tokens for c in first], [c.cost.routing + c.cost.attention for c in first], **style)
        right.plot([math.sqrt(c.height * c.width) for c in total], [c.cost.macs for c in total], **style)
    _label(left, "routing + attention of stage 1", "tokens of the map, HW")
    _label(right, "the whole network", "side of the image in pixels")
    _mark_doublings(right)
    legend = {"title": "left panel grows as", "labelspacing": 0.9, "handlelength": 3, "frameon": False}
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", **legend)
    return figure


def _literal(name: str) -> str:
    """A name as a label that matplotlib neither takes for a formula nor, for its first letter, hides."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _by_tokens(costs: Sequence[CellCost], cell: str, stage: str) -> list[CellCost]:
    """The costs of one stage of a cell, from few tokens to many."""
    return sorted((c for c in costs if c.cell == cell and c.stage == stage), key=lambda c: c.tokens or 0)


def _label(axes: Axes, title: str, below: str) -> None:
    axes.set(xscale="log", yscale="log", title=title, xlabel=below, ylabel="multiply-adds of one image")
    axes.grid(visible=True, which="major", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for line in axes.lines:
        line.set(linewidth=1.6, markersize=5, markeredgecolor="white", markeredgewidth=0.6)


def _mark_doublings(axes: Axes) -> None:
    """Ticks at the doublings of 224 where there are several, as powers of ten would leave one."""
    low, high = axes.get_xlim()
    sides = [side for side in (224 * 2.0**power for power in range(-3, 8)) if low <= side <= high]
    if len(sides) > 1:
        axes.xaxis.set_major_locator(FixedLocator(sides))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
