"""Boxes of objects: their formats, and what is done about bad ones."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import ops

from biformer_lit.errors import DataError

BoxFormat = Literal["xywh", "xyxy", "cxcywh"]
"""What the four numbers of a stored box are: x and y of the upper left corner or of the centre, width and height, or
x and y of the lower right corner."""

LARGEST_FRACTION = 1.5
"""A number above this is none that a fraction of the image size could be, even of a box that leaves the image."""

_ORDER = {"xywh": "x, y, width, height", "xyxy": "left, top, right, bottom", "cxcywh": "centre x, y, width, height"}
_ROUNDING = 1e-3  # pixels; a box of one pixel that is stored as float32 fractions comes out a little off


class Repairs(NamedTuple):
    """Counts of repaired objects; each counts once among ``small``, ``duplicates`` and ``clipped``.

    Attributes:
        small: Objects left out because their box, within the image, is under one pixel wide or high, or because
            their mask is empty.
        duplicates: Objects left out because they are the same as one before.
        clipped: Boxes that left their image by more than a pixel and were clipped to it.
        fractions: Those among ``small`` in images whose boxes all lie within 0..1, as fractions of the image size do.
        polygons: Polygons that are none, having fewer than three points or half a point, and were left out of a mask.
        missed: Masks of which more than half lies outside the object's own box; they are kept.
        crowds: Objects that stand for many (``iscrowd``), which are not trained on, and not missed where not found.
        turned: Objects that were turned with their image because they are stored in pixels of the unturned one.
    """

    small: int = 0
    duplicates: int = 0
    clipped: int = 0
    fractions: int = 0
    polygons: int = 0
    missed: int = 0
    crowds: int = 0
    turned: int = 0

    @classmethod
    def total(cls, several: Iterable[Any]) -> "Repairs":
        """The sums of several."""
        return cls(*(sum(column) for column in zip(*(cls(), *several), strict=True)))

    def describe(self) -> str:
        """Return what was repaired in one line, and what may be wrong."""
        bad = (
            (self.small, "dropped (under a pixel, outside the image, or with an empty mask)"),
            (self.duplicates, "dropped as exact duplicates"),
            (self.clipped, "clipped to the image"),
            (self.polygons, "polygons dropped (not three points)"),
            (self.missed, "with more than half of the mask outside the box"),
        )
        other = (
            (self.crowds, "neither trained on nor scored, being crowds (iscrowd)"),
            (self.turned, "turned with their image, whose EXIF orientation their boxes leave out"),
        )
        texts = (_listed("objects with bad boxes: ", bad), _listed("objects: ", other))
        text = "; ".join(text for text in texts if text)
        if self.fractions:
            text += (
                f"; the boxes of {self.fractions} lie within 0..1: if they are fractions of the image size, set "
                "data.init_args.normalised: true"
            )
        return text


def _listed(title: str, parts: Iterable[tuple[int, str]]) -> str:
    told = [f"{count} {what}" for count, what in parts if count]
    return title + ", ".join(told) if told else ""


def corner_boxes(
    stored: Sequence[Any], box_format: BoxFormat, normalised: bool, size: tuple[int, int], where: str
) -> Tensor:
    """Stored boxes as left, top, right and bottom in pixels, not yet clipped.

    Args:
        stored: Four numbers for each object.
        box_format: What they are.
        normalised: Whether they are fractions of the image size.
        size: Height and width of the image.
        where: What the message of an error starts with.

    Returns:
        float64 (n, 4).

    Raises:
        DataError: If a box is not four finite numbers, or they are no fractions where they should be.
    """
    values = torch.from_numpy(_four_numbers(stored, _ORDER[box_format], where))
    wrong = (~values.isfinite()).any(1).nonzero()
    if len(wrong):
        first = int(wrong[0])
        raise DataError(f"{where}, object {first}: the box {_shown(stored[first])} is not finite; correct or remove it")
    if normalised:
        require_fractions(values, where, "box")
        height, width = size
        values = values * torch.tensor([width, height, width, height])
    boxes: Tensor = ops.box_convert(values, box_format, "xyxy")
    return boxes


def require_fractions(values: Tensor, where: str, what: str) -> None:
    """Refuse boxes or polygons, one in each row of ``values``, that cannot be fractions of the image size."""
    wrong = (values > LARGEST_FRACTION).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"{where}: a {what} holds {float(values[row, column]):g}, which is no fraction of the image size; set "
            "data.init_args.normalised: false"
        )


def _four_numbers(stored: Sequence[Any], order: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if len(stored) == 0:
        return np.zeros((0, 4))
    try:
        values = np.asarray(stored, np.float64)
    except (ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if values.shape == (len(stored), 4):
        return values
    first = next((number for number, box in enumerate(stored) if not _is_box(box)), 0)
    raise DataError(
        f"{where}, object {first}: the box {_shown(stored[first])} must be four numbers ({order}); correct or remove it"
    )


def _is_box(box: Any) -> bool:
    try:
        return np.asarray(box, np.float64).shape == (4,)
    except (ValueError, TypeError, OverflowError):
        return False


def _shown(box: Any) -> str:
    text = str(box)
    return text if len(text) <= 80 else f"{text[:77]}..."


def sound_boxes(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Clip boxes to their image and tell which are to be kept; as ``clip_boxes`` for boxes of a single image."""
    return clip_boxes(boxes, boxes.new_tensor(size).expand(len(boxes), 2))


def clip_boxes(boxes: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Clip boxes, each to its own image, and tell which are to be kept.

    Args:
        boxes: Left, top, right and bottom in pixels (n, 4).
        sizes: Height and width of each one's image (n, 2).

    Returns:
        The clipped boxes, (n, 4); whether each is at least one pixel wide and high then, bool (n,); and whether
        clipping moved a side by more than a pixel, bool (n,).
    """
    clipped = boxes.clamp_min(0).minimum(sizes.flip(1).repeat(1, 2))
    large = (clipped[:, 2:] - clipped[:, :2] >= 1 - _ROUNDING).all(1)
    moved = ((clipped - boxes).abs() > 1 + _ROUNDING).any(1)
    return clipped, large, moved


def first_of_each(boxes: Tensor, labels: Tensor, crowd: Tensor, masks: Tensor | None) -> Tensor:
    """Return whether an object differs from all before it in class, box, crowd or mask, bool (n,).

    Args:
        boxes: (n, 4).
        labels: Class numbers, (n,).
        crowd: Whether it is many objects in one, (n,).
        masks: (n, height, width), or None if there are none.
    """
    seen: dict[tuple[float, ...], list[int]] = {}
    first = torch.ones(len(boxes), dtype=torch.bool)
    for number, key in enumerate(zip(labels.tolist(), crowd.tolist(), *boxes.T.tolist(), strict=True)):
        same = seen.setdefault(key, [])
        if masks is None:
            first[number] = not same
        else:
            first[number] = not any(torch.equal(masks[number], masks[other]) for other in same)
        same.append(number)
    return first
