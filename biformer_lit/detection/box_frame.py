"""Frame of the objects of an image with an EXIF rotation: pixels of the upright image or of the stored one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import datasets
from torch import Tensor

from biformer_lit.data.images.orientation import Turn
from biformer_lit.detection.object_masks import mask_size

BoxOrientation = Literal["auto", "upright", "stored"]
"""What objects are in pixels of: the image turned as EXIF says, the image as stored, or what the data shows."""

_SIZE_COLUMNS = (("height", "width"), ("image_height", "image_width"), ("img_height", "img_width"))
_LOOSE = 1  # pixels that a box may leave its image by


def size_columns(features: datasets.Features) -> tuple[str, str] | None:
    """Names of the columns with height and width of the images, None if there are none."""

    def are_numbers(names: tuple[str, str]) -> bool:
        found = [features.get(name) for name in names]
        return all(isinstance(x, datasets.Value) and x.dtype.startswith(("int", "uint", "float")) for x in found)

    return next((names for names in _SIZE_COLUMNS if are_numbers(names)), None)


@dataclass(frozen=True)
class BoxFrame:
    """Tells which pixels the objects of a turned image are in.

    What the row itself shows decides: the height and width that it or a mask holds, then boxes that leave the image in
    one of the two ways and not in the other. A row that shows nothing, such as that of a square image or one upside
    down, goes by ``presumed``.

    Attributes:
        given: What the user says; ``auto`` for what the data shows.
        columns: Names of the columns with height and width of the image, if there are any.
        presumed: What holds of rows that do not show it.
    """

    given: BoxOrientation = "auto"
    columns: tuple[str, str] | None = None
    presumed: Literal["upright", "stored"] = "upright"

    def is_stored(
        self, row: dict[str, Any], size: tuple[int, int], turn: Turn, boxes: Tensor | None, masks: Sequence[Any]
    ) -> bool:
        """Return whether the objects are in pixels of the stored image.

        Args:
            row: The stored row.
            size: Height and width of the upright image.
            turn: How the stored image comes upright.
            boxes: Left, top, right and bottom in pixels (n, 4), as stored; None if they are fractions.
            masks: The stored masks, as far as they are read.
        """
        if turn == Turn():
            return False
        if self.given != "auto":
            return self.given == "stored"
        return {"upright": False, "stored": True}[self.shown(row, size, turn, boxes, masks) or self.presumed]

    def shown(
        self, row: dict[str, Any], size: tuple[int, int], turn: Turn, boxes: Tensor | None, masks: Sequence[Any]
    ) -> Literal["upright", "stored"] | None:
        """Return what the row shows, None if nothing; the arguments are those of ``is_stored``."""
        stored = turn.stored_size(size)
        if stored == size:
            return None
        told = [self._told(row), *(mask_size(mask) for mask in masks)]
        for own in told:
            if own in (size, stored):
                return "upright" if own == size else "stored"
        if boxes is None or len(boxes) == 0:
            return None
        fits_upright, fits_stored = _fit(boxes, size), _fit(boxes, stored)
        if fits_upright == fits_stored:
            return None
        return "upright" if fits_upright else "stored"

    def _told(self, row: dict[str, Any]) -> tuple[int, int] | None:
        values = [row.get(name) for name in self.columns or ()]
        numbers = [int(value) for value in values if isinstance(value, int | float) and value == value]  # noqa: PLR0124
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _fit(boxes: Tensor, size: tuple[int, int]) -> bool:
    return bool((boxes[:, 2] <= size[1] + _LOOSE).all()) and bool((boxes[:, 3] <= size[0] + _LOOSE).all())
