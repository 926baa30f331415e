"""The three panels that show one block: regions read, attention, and how often each region is read."""

from typing import NamedTuple

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from biformer_lit.routing.blocks import RoutedBlock
from biformer_lit.routing.paint import (
    ATTENTION_COLOURS,
    DEGREE_COLOURS,
    RANK_COLOURS,
    Array,
    paint_heat,
    paint_routed,
    region_boxes,
    routed_strength,
    spread,
    spread_regions,
)
from biformer_lit.routing.statistics import in_degree

QUERY_COLOUR = "#D55E00"  # vermilion of Okabe and Ito's colour-blind-safe palette
HATCH = "////"
_HALO = [patheffects.withStroke(linewidth=3.6, foreground="white")]


class View(NamedTuple):
    """One block as seen from one point of one image.

    Attributes:
        photo: RGB, 0 to 1 (H, W, 3).
        boxes: Left, top, right, bottom of every region in pixels (R, 4).
        query: Number of the region of the point.
        point: x and y of the point in pixels.
        strength: How strongly the point's region reads each region, 0 to 1 (R,).
        routed: The same as an image (H, W).
        attention: Attention weights of the point's token, mean over the heads, as an image (H, W).
        degree: Share of regions (and heads) that read each region (R,).
        degrees: The same as an image (H, W).
    """

    photo: Array
    boxes: Array
    query: int
    point: tuple[float, float]
    strength: Array
    routed: Array
    attention: Array
    degree: Array
    degrees: Array


def look(photo: Array, block: RoutedBlock, point: tuple[float, float], image: int = 0) -> View:
    """Everything that is drawn of a block.

    Args:
        photo: The image that the network saw, RGB, 0 to 1 (H, W, 3).
        block: What the block decided.
        point: x and y of the query point as fractions of width and height, from the upper left.
        image: Which image of the batch.
    """
    record, stride = block.record, block.stride
    grid, size = record.grid, photo.shape[:2]
    row, column = block.token_at(point, size)
    region = record.region_at(row, column)
    strength = routed_strength(record, image, region)
    attention = record.token_attention(image, row, column).mean(0).cpu().numpy()
    degree = in_degree(record.index[image : image + 1])[0].cpu().numpy()
    return View(
        photo,
        region_boxes(grid, stride, size),
        region,
        (point[0] * size[1], point[1] * size[0]),
        strength,
        spread_regions(strength, grid, stride, size),
        spread(attention, (stride, stride), size),
        degree,
        spread_regions(degree, grid, stride, size),
    )


def draw_routed(axes: Axes, seen: View) -> None:
    """The regions that the point's region reads, coloured by :func:`routed_strength`; the rest dimmed."""
    _show(axes, seen, paint_routed(seen.photo, seen.routed))
    for region in np.flatnonzero(seen.strength):
        _outline(axes, seen.boxes[region], edgecolor=RANK_COLOURS(seen.strength[region]), linewidth=1.2)
    _mark_query(axes, seen)


def draw_attention(axes: Axes, seen: View) -> float:
    """The attention of the point's token; returns the value of the brightest colour."""
    top = float(seen.attention.max()) or 1.0  # with the released padding, all of it may lie outside the image
    _show(axes, seen, paint_heat(seen.photo, seen.attention, top, ATTENTION_COLOURS))
    _mark_query(axes, seen)
    return top


def draw_degree(axes: Axes, seen: View) -> float:
    """Draw how often each region is read, hatched if never; return the value of the brightest colour."""
    top = float(seen.degree.max())
    _show(axes, seen, paint_heat(seen.photo, seen.degrees, top, DEGREE_COLOURS))
    for box, share in zip(seen.boxes, seen.degree, strict=True):
        hatch = {"hatch": HATCH} if share == 0 else {}
        _outline(axes, box, edgecolor=(1, 1, 1, 0.35), linewidth=0.4, **hatch)
    _mark_query(axes, seen)
    return top


def _show(axes: Axes, seen: View, picture: Array) -> None:
    height, width = seen.photo.shape[:2]
    axes.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(axes: Axes, box: Array, **style: object) -> None:
    left, top, right, bottom = map(float, box)
    if right > left and bottom > top:  # else it lies in the padding
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))  # type: ignore[arg-type]


def _mark_query(axes: Axes, seen: View) -> None:
    _outline(axes, seen.boxes[seen.query], edgecolor=QUERY_COLOUR, linewidth=1.8, path_effects=_HALO, zorder=3)
    axes.plot(*seen.point, "o", color=QUERY_COLOUR, markeredgecolor="white", markersize=5, zorder=4, clip_on=False)
