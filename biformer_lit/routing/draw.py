"""Pictures of routing: one block in detail, and all blocks on a contact sheet."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from biformer_lit.routing.blocks import RoutedBlock
from biformer_lit.routing.paint import ATTENTION_COLOURS, DEGREE_COLOURS, RANK_COLOURS, Array
from biformer_lit.routing.panels import HATCH, QUERY_COLOUR, View, draw_attention, draw_degree, draw_routed, look

_ROW_OF_SHEET = 8  # blocks
_CAPTION = (
    "Red: the query point and its region. Regions read: yellow has the highest affinity (or the most heads); what is "
    "not read is dimmed.\nAttention of the point's token, and share of the regions that read a region: from 0 to the "
    "brightest colour, the maximum\nof each picture; grey is zero, hatched what no region reads."
)


class _Page:
    """A figure whose parts are placed in inches from the upper left.

    By hand, for a layout engine takes seconds for the many axes of a contact sheet.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))  # no pyplot: nothing global, no display needed

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes with their upper left corner and their size."""
        bottom = self.height - top - height
        return self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))

    def text(self, left: float, top: float, text: str, size: float, align: str = "left") -> None:
        """Text below ``top``."""
        place = (left / self.width, 1 - top / self.height)
        self.figure.text(*place, text, fontsize=size, ha=align, va="top", linespacing=1.5)

    def colour_bar(self, left: float, top: float, width: float, colours: Colormap, most: float, label: str) -> Axes:
        """A horizontal bar from 0 to ``most``, centred below a panel of this width."""
        mappable = ScalarMappable(Normalize(0, most), colours)
        bar = self.axes(left + width / 10, top, 0.8 * width, 0.12)
        # few ticks of a digit or two: those of small weights would run into each other
        ticks = MaxNLocator(nbins=4, steps=[1, 2, 5, 10])
        self.figure.colorbar(mappable, cax=bar, orientation="horizontal", label=label, ticks=ticks, format="%.2g")
        return bar


def draw_block(photo: Array, block: RoutedBlock, point: tuple[float, float], image: int = 0) -> Figure:
    """Three panels: what the query's region reads, the query's attention, and how often each region is read.

    Args:
        photo: The image that the network saw, RGB, 0 to 1 (H, W, 3).
        block: What the block decided.
        point: x and y of the query point as fractions of width and height, from the upper left.
        image: Which image of the batch.
    """
    seen, record = look(photo, block, point, image), block.record
    width, height = _panel(photo, 4.3)
    gap, head = 0.2, 0.95
    left = [gap + i * (width + gap) for i in range(3)]
    page = _Page(left[-1] + width + gap, head + height + 1.15)
    page.text(page.width / 2, 0.12, f"stage {block.stage}, block {block.block}", 14, "center")
    page.text(page.width / 2, 0.42, _describe(block), 10, "center")
    routed, attention, degree = (page.axes(at, head, width, height) for at in left)
    below = head + height + 0.12
    draw_routed(routed, seen)
    routed.set_title(f"regions read: {np.count_nonzero(seen.strength)} of {len(seen.strength)}", fontsize=11)
    _rank_bar(page, left[0], below, width, record.index.shape[1], record.index.shape[-1])
    top = draw_attention(attention, seen)
    attention.set_title(f"attention of the point's token, mean of {record.heads} heads", fontsize=11)
    page.colour_bar(left[1], below, width, ATTENTION_COLOURS, top, "attention weight of a token (grey: 0)")
    top = draw_degree(degree, seen)
    degree.set_title("how often each region is read", fontsize=11)
    bar = page.colour_bar(left[2], below, width, DEGREE_COLOURS, top, "share of the regions that read it (line: mean)")
    for colour, thickness in (("white", 4), ("black", 1.5)):
        bar.axvline(float(seen.degree.mean()), color=colour, linewidth=thickness)
    page.figure.legend(handles=_legend(seen), loc="lower center", ncols=3, frameon=False, fontsize=10)
    return page.figure


def draw_sheet(photo: Array, blocks: list[RoutedBlock], point: tuple[float, float], image: int = 0) -> Figure:
    """Draw all blocks: a column for each block, with the three panels of :func:`draw_block` below each other.

    Args:
        photo: The image that the network saw, RGB, 0 to 1 (H, W, 3).
        blocks: What the blocks decided, from input to output; at least one.
        point: x and y of the query point as fractions of width and height, from the upper left.
        image: Which image of the batch.
    """
    bands = np.array_split(np.arange(len(blocks)), math.ceil(len(blocks) / _ROW_OF_SHEET))
    columns = max(4, len(bands[0]))  # the caption is as wide as four
    width, height = _panel(photo, 1.6)
    gap, head, side = 0.06, 0.32, 0.35
    depth = head + 3 * (height + gap)  # of a band
    page = _Page(side + columns * (width + gap), len(bands) * depth + 0.75)
    for band, numbers in enumerate(bands):
        for column, number in enumerate(numbers):
            block, left = blocks[number], side + column * (width + gap)
            seen = look(photo, block, point, image)
            label = f"stage {block.stage}, block {block.block}"
            page.text(left + width / 2, band * depth + 0.1, label, 9, "center")
            for row, draw in enumerate((draw_routed, draw_attention, draw_degree)):
                axes = page.axes(left, band * depth + head + row * (height + gap), width, height)
                draw(axes, seen)
                if column == 0:
                    axes.set_ylabel(("regions read", "attention", "how often read")[row], fontsize=9)
    page.text(side, len(bands) * depth + 0.1, _CAPTION, 7.5)
    return page.figure


def _panel(photo: Array, width: float) -> tuple[float, float]:
    """Width and height in inches; a very long photo has white beside it."""
    return width, width * min(max(photo.shape[0] / photo.shape[1], 0.5), 2)


def _describe(block: RoutedBlock) -> str:
    grid, index = block.record.grid, block.record.index
    heads = f", each of {index.shape[1]} heads for itself" if index.shape[1] > 1 else ""
    return (
        f"map of {grid.height} x {grid.width} tokens in {grid.rows} x {grid.columns} regions of "
        f"{grid.region_height} x {grid.region_width}; a region reads {index.shape[-1]}{heads}"
    )


def _legend(seen: View) -> list[Patch | Line2D]:
    unread = int((seen.degree == 0).sum())
    dot = Line2D([], [], linestyle="none", marker="o", markersize=8, color=QUERY_COLOUR, markeredgecolor="white")
    dot.set_label("query point")
    return [
        dot,
        Patch(facecolor="none", edgecolor=QUERY_COLOUR, linewidth=2, label="its region"),
        Patch(facecolor="0.5", edgecolor="white", hatch=HATCH, label=f"regions that nobody reads: {unread}"),
    ]


def _rank_bar(page: _Page, left: float, top: float, width: float, choices: int, topk: int) -> None:
    """The colours of the strength: ranks where the heads share their routing, else numbers of heads."""
    steps = topk if choices == 1 else choices
    label = "rank by affinity to the query's region" if choices == 1 else "heads that read it"
    bar = page.colour_bar(left, top, width, RANK_COLOURS, 1, label)
    first, last = (str(topk), "1") if choices == 1 else ("1", str(choices))
    if steps == 1:
        bar.set_xticks([1], [last])
    else:
        bar.set_xlim(1 / steps, 1)
        bar.set_xticks([1 / steps, 1], [first, last])
