"""Label maps as colours."""

from typing import Any, TypeAlias

import numpy as np

Pixels: TypeAlias = "np.ndarray[Any, Any]"

# Okabe and Ito's colours, which people of every kind of colour vision tell apart (https://jfly.uni-koeln.de/color), but
# for their black, which is not seen on dark photographs; grey is far from the others for all of them too
_COLOURS = ((153, 153, 153), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
            (204, 121, 167))  # fmt: skip
_IGNORED = (150, 110)  # greys of the stripes


def palette(classes: int) -> Pixels:
    """A colour for each class.

    The first eight are safe for all kinds of colour vision. Further classes take them again, mixed half and half with
    white, then with the next colour of the row, and so on: neighbours in number stay apart, but no set of so many
    colours is safe.

    Args:
        classes: Number of classes.

    Returns:
        Red, green and blue (classes, 3), uint8; all different up to 64 classes.
    """
    base = np.array(_COLOURS, dtype=np.float64)
    count = len(base)
    colours = np.empty((classes, 3))
    for i in range(classes):
        turn = i // count
        other = np.array([255.0] * 3) if turn == 1 else base[(i + turn - 1) % count]
        share = 0.0 if turn == 0 else 0.5 if turn == 1 else 0.3
        colours[i] = base[i % count] * (1 - share) + other * share
    rounded: Pixels = colours.round().astype(np.uint8)
    return rounded


def striped(shape: tuple[int, ...]) -> Pixels:
    """Diagonal stripes of 4 pixels: every second one is True, in an array of this shape (H, W)."""
    rows, columns = np.indices(shape)
    stripes: Pixels = (rows + columns) // 4 % 2 == 0
    return stripes


def paint_labels(labels: Pixels, classes: int, ignore_index: int | None = None) -> Pixels:
    """A label map in colours; what is ignored, and any other value that is no class, is striped in two greys.

    Args:
        labels: Classes (H, W), integers.
        classes: Number of classes.
        ignore_index: The value that is no class, even if it is below ``classes``.

    Returns:
        Red, green and blue (H, W, 3), uint8.
    """
    stripes = np.where(striped(labels.shape), *_IGNORED).astype(np.uint8)
    known = (labels >= 0) & (labels < classes)
    if ignore_index is not None:
        known &= labels != ignore_index
    painted: Pixels = palette(classes)[np.where(known, labels, 0)]
    return np.where(known[..., None], painted, stripes[..., None])


def overlay(photo: Pixels, painted: Pixels, share: float = 0.5) -> Pixels:
    """An image under its painted label map.

    Args:
        photo: The image (H, W, 3) or (H, W, 1), between 0 and 1.
        painted: Colours (H, W, 3), uint8.
        share: Weight of the colours.

    Returns:
        Red, green and blue (H, W, 3), uint8.
    """
    mixed: Pixels = (photo * 255.0 * (1 - share) + painted * share).round().astype(np.uint8)
    return mixed
