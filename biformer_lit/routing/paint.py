"""Routing as pixels: where regions and tokens lie in an image, and their values painted over it.

Token (i, j) of a map with ``stride`` pixels per token covers rows ``i * stride`` to ``(i + 1) * stride`` of the image
and the columns likewise; what overhangs the image is cut off.
"""

from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap
from numpy.typing import NDArray

from biformer_lit.attention import RoutingRecord
from biformer_lit.ops import RegionGrid
from biformer_lit.routing.statistics import chosen

Array: TypeAlias = NDArray[Any]

# All readable without colour vision: lightness grows with the value. The darkest of the ranks' would hide in a photo.
RANK_COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0.25, 1, 256)), "upper viridis")
ATTENTION_COLOURS, DEGREE_COLOURS = colormaps["magma"], colormaps["cividis"]
_UNREAD = 0.33  # brightness of what is not read
_LEAST = 0.6  # brightness of what is read with the lowest strength
_UNLIT = 0.56  # brightness of the photo where a heat map is zero


def region_boxes(grid: RegionGrid, stride: int, size: tuple[int, int]) -> Array:
    """Return the boxes of the regions in the image.

    Args:
        grid: How the map is cut.
        stride: Pixels of the image per token, along each side.
        size: Height and width of the image in pixels.

    Returns:
        Left, top, right and bottom of every region in pixels, int (R, 4); right <= left or bottom <= top where a region
        lies wholly in the padding.
    """
    top, left = (
        np.arange(count) * side * stride
        for count, side in ((grid.rows, grid.region_height), (grid.columns, grid.region_width))
    )
    top, left = np.repeat(top, grid.columns), np.tile(left, grid.rows)
    right = np.minimum(left + grid.region_width * stride, size[1])
    bottom = np.minimum(top + grid.region_height * stride, size[0])
    return np.stack([left, top, right, bottom], axis=1)


def spread(values: Array, cell: tuple[int, int], size: tuple[int, int]) -> Array:
    """Values of equal cells as an image.

    Args:
        values: One value for each cell (rows, columns).
        cell: Height and width of a cell in pixels.
        size: Height and width of the image in pixels.

    Returns:
        The value of the cell that each pixel lies in (H, W); 0 beyond the last cell.
    """
    pixels = values.repeat(cell[0], axis=0).repeat(cell[1], axis=1)[: size[0], : size[1]]
    return np.pad(pixels, [(0, want - have) for want, have in zip(size, pixels.shape, strict=True)])


def spread_regions(values: Array, grid: RegionGrid, stride: int, size: tuple[int, int]) -> Array:
    """Values of the regions (R,) as an image (H, W); see :func:`spread`."""
    cell = (grid.region_height * stride, grid.region_width * stride)
    return spread(values.reshape(grid.rows, grid.columns), cell, size)


def routed_strength(record: RoutingRecord, image: int, region: int) -> Array:
    """Return how strongly a region reads each region.

    Args:
        record: What the block decided.
        image: Which image of the batch.
        region: The reading region.

    Returns:
        Values (R,), 0 for regions that are not read. Where the heads share their routing: 1 for the highest affinity
        of the k that are read, then in equal steps down to 1 / k. Where each head chooses for itself: the
        share of the heads that read the region.
    """
    index = record.index[image, :, region]  # (G, k)
    if len(index) > 1:
        strength: Array = chosen(record.index[image])[:, region].float().mean(0).cpu().numpy()
        return strength
    order = record.affinity[image, 0, region][index[0]].argsort(descending=True, stable=True)
    strength = np.zeros(record.grid.count, dtype=np.float32)
    strength[index[0][order].cpu().numpy()] = np.linspace(1, 0, len(order), endpoint=False)
    return strength


def paint_routed(photo: Array, strength: Array) -> Array:
    """The photo with what is read bright and tinted by its strength, and the rest dimmed and grey.

    Args:
        photo: RGB, 0 to 1 (H, W, 3).
        strength: 0 for pixels that are not read, else up to 1 (H, W).

    Returns:
        RGB (H, W, 3).
    """
    read = 0.65 * photo + 0.35 * RANK_COLOURS(strength)[..., :3]  # the tint shows on black, too
    read = (_LEAST + (1 - _LEAST) * strength[..., None]) * read
    return np.where(strength[..., None] > 0, read, _UNREAD * _grey(photo))


def paint_heat(photo: Array, values: Array, top: float, colours: Colormap) -> Array:
    """A heat map over the photo in grey; where the value is zero, the photo alone.

    Args:
        photo: RGB, 0 to 1 (H, W, 3).
        values: Values of at least 0 (H, W).
        top: The value of the last colour, above 0.
        colours: Colours of 0 to ``top``.

    Returns:
        RGB (H, W, 3).
    """
    heat = 0.25 * _grey(photo) + 0.75 * colours(np.clip(values / top, 0, 1))[..., :3]
    return np.where(values[..., None] > 0, heat, _UNLIT * _grey(photo))


def _grey(photo: Array) -> Array:
    grey: Array = (photo @ np.array([0.299, 0.587, 0.114]))[..., None].repeat(3, axis=-1)
    return grey
