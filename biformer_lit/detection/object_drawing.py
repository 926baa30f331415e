"""Objects as pictures: boxes, masks, names."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke
from torch import Tensor

from biformer_lit.callbacks.shown import ObjectArrays
from biformer_lit.dense.label_colours import Pixels, palette, striped
from biformer_lit.text.fonts import drawable, drawing

_DPI = 128  # a power of two, so that sizes in inches are exact
_SMALLEST = 480  # longer side of the smallest picture, in pixels, for names of classes to fit in
_TEXT = 11  # height of the names in pixels


def as_arrays(objects: Mapping[str, Tensor] | None) -> ObjectArrays:
    """Objects of a batch or of a task's outputs as arrays; none where an image is not labelled."""
    if objects is None:
        return {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    return {name: values.detach().cpu().numpy() for name, values in objects.items()}


def draw_objects(
    axis: Axes, photo: Pixels, size: tuple[int, int], objects: ObjectArrays, names: list[str], scale: float
) -> None:
    """Draw an image and its objects.

    Each has its class' colour, of :func:`biformer_lit.dense.label_colours.palette`. Crowds are dashed and hatched.

    Args:
        axis: Where to draw.
        photo: The image (H, W, 1 or 3) between 0 and 1, of any size.
        size: Height and width of the image that boxes and masks belong to.
        objects: The objects; the first ones lie on top.
        names: Names of all classes.
        scale: Pixels of the drawing for each of that image.
    """
    height, width = size
    extent = (0, width, height, 0)
    shown = photo[..., 0] if photo.shape[-1] == 1 else photo
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
    axis.axis("off")
    count = len(objects["labels"])
    colours = palette(len(names))[objects["labels"]]
    contrasts = _contrasts(colours)
    crowd = objects.get("crowd", np.zeros(count, bool))
    if "masks" in objects and count:
        painted = _paint_masks(objects["masks"], colours, contrasts, crowd, max(1, round(scale)))
        axis.imshow(painted, extent=extent, aspect="auto", interpolation="nearest")
    axis.set(xlim=(0, width), ylim=(height, 0))
    pixel = 72 / axis.figure.dpi  # in points
    text = max(_TEXT, round(max(size) * scale / 90))
    taken: list[_Area] = []
    for i in range(count):
        box = _Area(*objects["boxes"][i].tolist())
        colour, contrast = colours[i] / 255, contrasts[i] / 255
        frame = Rectangle(
            (box.left, box.top), box.right - box.left, box.bottom - box.top, fill=False, edgecolor=colour,
            linewidth=2 * pixel, linestyle="--" if crowd[i] else "-", zorder=2 + (count - i) / count,
            hatch="//" if crowd[i] and "masks" not in objects else None,
        )  # fmt: skip
        frame.set_path_effects([withStroke(linewidth=3.5 * pixel, foreground=contrast, alpha=0.6), Normal()])
        axis.add_patch(frame)
        said = drawable(names[int(objects["labels"][i])], 40) + (" (crowd)" if crowd[i] else "")
        if "scores" in objects:
            said += f" {objects['scores'][i]:.2f}"
        place = _place(box, ((0.62 * text * len(said) + 4) / scale, (1.2 * text + 2) / scale), (width, height), taken)
        taken.append(place)
        axis.text(
            place.left + 2 / scale, (place.top + place.bottom) / 2, said, fontsize=text * pixel, color=contrast,
            va="center_baseline", clip_on=True, zorder=4 + (count - i) / count,  # above all boxes
            bbox={"facecolor": colour, "edgecolor": "none", "alpha": 0.8, "pad": 1.5 * pixel},
        )  # fmt: skip


def _contrasts(colours: Pixels) -> Pixels:
    """White for dark colours, black for light ones: (n, 3), uint8."""
    light = colours @ np.array([0.299, 0.587, 0.114]) >= 127.5
    return np.where(light[:, None], 0, 255).repeat(3, 1).astype(np.uint8)


def _paint_masks(masks: Pixels, colours: Pixels, contrasts: Pixels, crowd: Pixels, times: int) -> Pixels:
    """Masks as translucent areas with an edge, striped for crowds; the first ones lie on top.

    Args:
        masks: The masks (n, H, W).
        colours: Colour of each (n, 3), uint8.
        contrasts: Colour of the edges (n, 3), uint8.
        crowd: Which are crowds (n,).
        times: How often each pixel is repeated along both sides, so that edges are thin.

    Returns:
        Red, green, blue and opacity (H * times, W * times, 4), uint8.
    """
    painted = np.zeros((masks.shape[1] * times, masks.shape[2] * times, 4), np.uint8)
    stripes = striped(painted.shape[:2])
    for i in reversed(range(len(masks))):
        mask = masks[i].astype(bool).repeat(times, 0).repeat(times, 1)
        around = np.pad(mask, 1)
        inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        painted[mask & stripes if crowd[i] else mask] = (*colours[i], 115)
        painted[mask & ~inner] = (*contrasts[i], 150)
    return painted


class _Area(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: "_Area") -> float:
        """Size of what two have in common."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)


def _place(box: _Area, room: tuple[float, float], size: tuple[int, int], taken: list[_Area]) -> _Area:
    """Return the position at its box where a name hides least of the other names, above the box if possible.

    Args:
        box: The box.
        room: Width and height of the name.
        size: Width and height of the image, which the name is not to leave.
        taken: Where names are already.
    """
    (wide, high), places = room, []
    for left in (box.left, box.right - wide):
        for top in (box.top - high, box.top, box.bottom, box.bottom - high):
            x, y = max(min(left, size[0] - wide), 0.0), max(min(top, size[1] - high), 0.0)
            places.append(_Area(x, y, x + wide, y + high))
    return min(places, key=lambda place: sum(place.shared(other) for other in taken))


def object_picture(photo: Pixels, size: tuple[int, int], objects: ObjectArrays, names: list[str]) -> Pixels:
    """A picture of an image with its objects, as large as the image, small ones as a multiple of it.

    Args:
        photo: The image (H, W, 1 or 3) between 0 and 1.
        size: Height and width of the image that boxes and masks belong to.
        objects: The objects; the first ones lie on top.
        names: Names of all classes.

    Returns:
        Red, green and blue (rows, columns, 3), uint8.
    """
    times = math.ceil(_SMALLEST / max(photo.shape[:2]))
    rows, columns = (side * times for side in photo.shape[:2])
    figure = Figure(figsize=(columns / _DPI, rows / _DPI), dpi=_DPI)  # no pyplot: nothing global
    canvas: Any = FigureCanvasAgg(figure)
    with drawing(names):
        draw_objects(figure.add_axes((0, 0, 1, 1)), photo, size, objects, names, columns / size[1])
    canvas.draw()
    picture: Pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return picture
