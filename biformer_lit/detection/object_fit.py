"""Check whether objects lie in their images as they are read, or would if read differently.

Boxes of another format and run lengths of another order make numbers that training takes without complaint. They are
looked at in some hundreds of rows, spread evenly, of whose images only the headers are read.
"""

import logging
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torchvision import ops

from biformer_lit.data.images.headers import read_header
from biformer_lit.data.images.orientation import turn_of
from biformer_lit.data.labels import stored_column
from biformer_lit.detection.boxes import BoxFormat, clip_boxes
from biformer_lit.detection.object_masks import decode_object_mask, outside_share
from biformer_lit.detection.object_reading import ReadObjects, by_field
from biformer_lit.detection.object_survey import count_by_row
from biformer_lit.errors import DataError

_log = logging.getLogger(__name__)
_MOST_ROWS = 1000  # whose images' headers are read
_MOST_MASKS, _MOST_PIXELS = 300, 5e8  # that are decoded
_SURE = 30  # boxes that are wrong, which no true format has where another has none
_FEWEST_TOLD, _FEWEST_REFUSED = 3, 8  # boxes or masks that are wrong, below which nothing is concluded


class Placed(NamedTuple):
    """Objects of one row, and the image that their numbers refer to.

    Attributes:
        boxes: Four numbers each, as stored (n, 4).
        masks: The masks as stored; empty if they are not read.
        size: Height and width of the image, in pixels of which the objects are.
        shown: What the row of a turned image shows of its objects; see ``BoxFrame``.
    """

    boxes: Tensor
    masks: list[Any]
    size: tuple[int, int]
    shown: str | None


class _Masked(NamedTuple):
    mask: Any
    box: Tensor
    size: tuple[int, int]


def place_some(table: Any, image_column: str, read: ReadObjects) -> list[Placed]:
    """Objects of rows spread evenly over a split, each with the size of its image; rows without that are left out.

    Args:
        table: The split.
        image_column: Column with the image.
        read: How objects are read.
    """
    if read.fields.column not in table.column_names:
        return []
    count = count_by_row(stored_column(table, read.fields.column), read.fields.box)
    filled = np.flatnonzero(count)
    chosen = filled[np.unique(np.linspace(0, len(filled) - 1, min(_MOST_ROWS, len(filled))).astype(int))]
    found = (_place(table[row], image_column, read) for row in chosen.tolist())
    return [placed for placed in found if placed is not None]


def _place(row: dict[str, Any], image_column: str, read: ReadObjects) -> Placed | None:
    header = read_header(row.get(image_column))
    if header is None:
        return None
    fields, turn = read.fields, turn_of(header.orientation)
    try:
        stored = by_field(row.get(fields.column), fields, "")
        boxes = torch.tensor(stored[fields.box], dtype=torch.float64).reshape(-1, 4)
    except (DataError, ValueError, TypeError, RuntimeError):
        return None
    masks = list(stored[fields.mask] or []) if read.masks and fields.mask is not None else []
    corners = None if read.normalised else ops.box_convert(boxes, read.box_format, "xyxy")
    shown = read.frame.shown(row, header.size, turn, corners, masks)
    as_stored = read.frame.is_stored(row, header.size, turn, corners, masks)
    return Placed(boxes, masks, turn.stored_size(header.size) if as_stored else header.size, shown)


def require_fitting(placed: list[Placed], split: str, read: ReadObjects) -> None:
    """Say, or refuse, where objects do not lie in their images as they are read, but would if read otherwise.

    Args:
        placed: What ``place_some`` found.
        split: Name of the split.
        read: How objects are read.

    Raises:
        DataError: If that holds for more than half of the boxes, or of the masks.
    """
    if not placed:
        return
    boxes = torch.cat([one.boxes for one in placed])
    sizes = torch.tensor([one.size for one in placed for _ in one.boxes], dtype=torch.float64)
    _tell(split, *_wrong_boxes(boxes, sizes, read))
    several = [_Masked(mask, box, o.size) for o in placed for mask, box in zip(o.masks, o.boxes, strict=False)]
    _tell(split, *_wrong_masks(_some(several), read))


def _some(several: list[_Masked]) -> list[_Masked]:
    """Not more than can be decoded in seconds, spread evenly."""
    pixels = sum(one.size[0] * one.size[1] for one in several) / max(len(several), 1)
    most = min(_MOST_MASKS, int(_MOST_PIXELS / max(pixels, 1)), len(several))
    return [several[i] for i in np.unique(np.linspace(0, len(several) - 1, most).astype(int))] if most else []


def _tell(split: str, message: str | None, refuse: bool) -> None:
    if message is None:
        return
    if refuse:
        raise DataError(f"split {split!r}: {message}")
    _log.warning("split %r: %s", split, message)


def _wrong_boxes(boxes: Tensor, sizes: Tensor, read: ReadObjects) -> tuple[str | None, bool]:
    """Return the message about boxes that leave their image or are empty, and whether it refuses the split."""
    total, bad = len(boxes), _unfit(boxes, sizes, read.box_format, read.normalised)
    if bad < _FEWEST_TOLD or bad < 0.02 * total:
        return None, False
    told = f"{bad} of {total} boxes leave their image or are empty as {read.box_format}"
    others = {
        **{kind: boxes for kind in get_args(BoxFormat) if kind != read.box_format},
        **{f"{kind} with x and y exchanged": boxes[:, [1, 0, 3, 2]] for kind in get_args(BoxFormat)},
    }
    for name, values in others.items():
        kind = name.split()[0]
        left = _unfit(values, sizes, kind, read.normalised)
        if left <= min(0.02 * total, 0.1 * bad):
            verb = "all" if left == 0 else f"all but {left}"
            remedy = (
                f"is data.init_args.box_format {kind}?"
                if name == kind
                else "exchange x and y, and set data.init_args.box_format to it"
            )
            return f"{told}, and {verb} lie in it as {name}: {remedy}", _is_nonsense(bad, total) or _is_sure(
                bad, left, total
            )
    if _is_nonsense(bad, total):
        return f"{told}, and no other format does better: are they in pixels of images of another size?", False
    return None, False


def _is_nonsense(bad: int, total: int) -> bool:
    return bad >= _FEWEST_REFUSED and bad > 0.5 * total


def _is_sure(bad: int, left: int, total: int) -> bool:
    """Return whether too many boxes are wrong for chance where another format has none that is."""
    return left == 0 and bad >= _SURE and bad > 0.2 * total


def _unfit(boxes: Tensor, sizes: Tensor, kind: str, normalised: bool) -> int:
    whole = sizes.flip(1).repeat(1, 2)
    corners = ops.box_convert(boxes * whole if normalised else boxes, kind, "xyxy")
    _, large, moved = clip_boxes(corners, sizes)
    return int((~large | moved).sum())


def _wrong_masks(several: list[_Masked], read: ReadObjects) -> tuple[str | None, bool]:
    """Return the message about masks that miss their own box, and whether it refuses the split."""
    found = [_is_outside("as stored", one, read) for one in several]
    bad, total = found.count(True), len(found) - found.count(None)
    if bad < _FEWEST_TOLD or bad < 0.1 * total:
        return None, False
    told, refuse = f"{bad} of {total} masks lie outside their own box", _is_nonsense(bad, total)
    several = [one for one, outside in zip(several, found, strict=True) if outside is not None]
    for name in ("rows", "swapped", *(kind for kind in get_args(BoxFormat) if kind != read.box_format)):
        if sum(_is_outside(name, one, read) is not False for one in several) <= 0.1 * bad:
            return f"{told}, {_remedy(name)}", refuse
    return f"{told}: do masks and boxes belong to the same objects, in the same order?", False


def _remedy(reading: str) -> str:
    if reading == "rows":
        return "but in it if their run lengths go row by row: write them column by column, as COCO does"
    if reading == "swapped":
        return "but in it with x and y of the polygons exchanged: exchange them in the data"
    return f"but in it if the boxes are {reading}: is data.init_args.box_format {reading}?"


def _is_outside(reading: str, masked: _Masked, read: ReadObjects) -> bool | None:
    """Return whether more than half of a mask is outside its box in some reading; None if it cannot be read so."""
    mask, box, size = masked
    kind = reading if reading in get_args(BoxFormat) else read.box_format
    if reading == "rows" and not (isinstance(mask, dict) and "counts" in mask):
        return None
    if reading == "swapped":
        if not isinstance(mask, list) or not all(isinstance(points, list) for points in mask):
            return None
        mask = [np.asarray(points, float).reshape(-1, 2)[:, ::-1].ravel().tolist() for points in mask]
    try:
        pixels = decode_object_mask(mask, size, read.normalised, "")
    except (DataError, ValueError):
        return None
    if reading == "rows":
        pixels = pixels.T.reshape(size)
    whole = torch.tensor([size[1], size[0]] * 2) if read.normalised else 1
    corners = ops.box_convert((box * whole)[None], kind, "xyxy")
    return None if not pixels.any() else bool(outside_share(pixels[None], corners)[0] > 0.5)
