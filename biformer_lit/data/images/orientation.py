"""The eight orientations of EXIF: from what a file stores to the upright image, for boxes, outlines and pixels."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

UPRIGHT = 1
"""The orientation of an image that is stored as it is seen."""


class Turn(NamedTuple):
    """Turn that makes stored pixels upright: flips of the stored image first, then the exchange of rows and columns.

    Attributes:
        flip_x: Whether left and right of the stored image are exchanged.
        flip_y: Whether top and bottom of the stored image are exchanged.
        transpose: Whether rows become columns.
    """

    flip_x: bool = False
    flip_y: bool = False
    transpose: bool = False

    def stored_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width as stored, of those of the upright image."""
        return (size[1], size[0]) if self.transpose else size

    def boxes(self, boxes: Tensor, stored: tuple[int, int]) -> Tensor:
        """Boxes in the upright image.

        Args:
            boxes: Left, top, right and bottom in the stored image (n, 4). Sides of negative length stay negative.
            stored: Height and width of the stored image.
        """
        height, width = stored
        left, top, right, bottom = boxes.unbind(1)
        if self.flip_x:
            left, right = width - right, width - left
        if self.flip_y:
            top, bottom = height - bottom, height - top
        sides = (top, left, bottom, right) if self.transpose else (left, top, right, bottom)
        return torch.stack(sides, 1)

    def pixels(self, pixels: Any) -> Any:
        """An array (height, width, ...) of the stored image's pixels, upright; a contiguous copy where it is turned."""
        if self == Turn():
            return pixels
        turned = pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return np.ascontiguousarray(turned.swapaxes(0, 1) if self.transpose else turned)


TURNS = {
    1: Turn(),
    2: Turn(flip_x=True),
    3: Turn(flip_x=True, flip_y=True),
    4: Turn(flip_y=True),
    5: Turn(transpose=True),
    6: Turn(flip_y=True, transpose=True),
    7: Turn(flip_x=True, flip_y=True, transpose=True),
    8: Turn(flip_x=True, transpose=True),
}
"""By the number that EXIF has for it."""


def turn_of(orientation: int) -> Turn:
    """Return the turn for an EXIF orientation; a number that EXIF does not know turns nothing."""
    return TURNS.get(orientation, TURNS[UPRIGHT])
