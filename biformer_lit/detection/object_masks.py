"""Masks of single objects: polygons, COCO's run lengths and pictures become pixels."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor

from biformer_lit.data.images.decoding import is_empty
from biformer_lit.data.images.headers import read_header
from biformer_lit.dense.masks import decode_mask, require_size
from biformer_lit.detection.boxes import require_fractions
from biformer_lit.errors import DataError

_FARTHEST = 10  # image sides; rasterising takes memory for each pixel of an outline, also outside the image
_LONGEST = 4_000_000  # pixels of outline; each takes 80 bytes
_LOOSE = 1  # pixels that a mask may reach beyond its box
_BITS = 60  # of a run's length; text may continue forever


def decode_object_mask(value: Any, size: tuple[int, int], normalised: bool, where: str) -> Tensor:
    """Decode the mask of one object.

    Polygons of fewer than three points, or with half a point, enclose nothing and are passed over;
    ``stray_polygons`` counts them.

    Args:
        value: Polygons (a list of flat lists x, y, x, y, ..., or a single such list, or pairs x, y), run lengths
            (``counts`` as text, bytes or integers, and ``size``), or a picture as for ``decode_image``, of one channel,
            whose pixels on the object are not 0.
        size: Height and width of the image.
        normalised: Whether polygons are fractions of the image size.
        where: What the message of an error starts with.

    Returns:
        1 on the object and 0 elsewhere, uint8 (height, width).

    Raises:
        BadImageError: If a picture cannot be read.
        DataError: If the mask is missing, damaged, or of another size than the image.
    """
    if isinstance(value, dict) and "counts" in value:
        return torch.from_numpy(_from_runs(value, size, where))
    if isinstance(value, list | tuple):
        return torch.from_numpy(_from_polygons(_sound(_polygons(value)), size, normalised, where))
    if isinstance(value, dict) and not {"bytes", "path"} & set(value):
        fields = " ".join(", ".join(value).split())[:80]
        raise DataError(
            f"{where}: the mask is a struct of {fields}, but must be polygons, run lengths or a picture; "
            "correct data.init_args.mask_field"
        )
    if is_empty(value):
        raise DataError(f"{where}: the mask is missing; add it, remove the object, or set data.init_args.masks: false")
    pixels = decode_mask(value, where)
    require_size(pixels.shape, size, where)
    return torch.from_numpy((pixels != 0).astype(np.uint8))


def stray_polygons(value: Any) -> int:
    """Return how many of a mask's polygons are invalid: fewer than three points, or half a point."""
    polygons = _polygons(value) if isinstance(value, list | tuple) else []
    return len(polygons) - len(_sound(polygons))


def _polygons(value: Any) -> list[Any]:
    """Flat lists x, y, x, y, ...; there may be a single polygon, and points may be pairs."""
    if not value:
        return []
    if not isinstance(value[0], list | tuple):
        return [value]
    if len(value) >= 3 and _are_points(value):
        return [_flat(value)]
    return [_flat(points) if isinstance(points, list | tuple) and _are_points(points) else points for points in value]


def _are_points(points: Any) -> bool:
    return len(points) > 0 and all(isinstance(point, list | tuple) and len(point) == 2 for point in points)


def _flat(points: Any) -> list[Any]:
    return [number for point in points for number in point]


def _sound(polygons: list[Any]) -> list[Any]:
    return [points for points in polygons if not _is_stray(points)]


def _is_stray(points: Any) -> bool:
    """Return whether a list of numbers is no polygon; what is no list of numbers is refused where points are read."""
    if not isinstance(points, list | tuple) or any(isinstance(number, list | tuple) for number in points):
        return False
    return len(points) < 6 or len(points) % 2 == 1


def mask_size(value: Any) -> tuple[int, int] | None:
    """Height and width that a stored mask has of its own, None for polygons and what cannot be read."""
    if isinstance(value, dict) and "counts" in value:
        shape = value.get("size")
        return (shape[0], shape[1]) if isinstance(shape, list | tuple) and len(shape) == 2 else None
    if isinstance(value, list | tuple) or is_empty(value):
        return None
    header = read_header(value)
    return None if header is None else header.size


def outside_share(masks: Tensor, boxes: Tensor) -> Tensor:
    """Share of each mask that lies more than a pixel outside its box.

    Args:
        masks: uint8 (n, height, width), none of them empty.
        boxes: Left, top, right and bottom in pixels (n, 4).

    Returns:
        float32 (n,).
    """
    shares = []
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        rows = slice(max(math.floor(top) - _LOOSE, 0), max(math.ceil(bottom) + _LOOSE, 0))
        columns = slice(max(math.floor(left) - _LOOSE, 0), max(math.ceil(right) + _LOOSE, 0))
        inside = int(mask[rows, columns].sum())
        shares.append(1 - inside / max(int(mask.sum()), 1))
    return torch.tensor(shares, dtype=torch.float32)


def has_pixels(masks: Tensor) -> Tensor:
    """Return whether anything is in each of the masks, uint8 (n, height, width); bool (n,)."""
    return masks.flatten(1).any(1).bool()  # any of uint8 is uint8


def _from_polygons(polygons: Any, size: tuple[int, int], normalised: bool, where: str) -> NDArray[np.uint8]:
    if len(polygons) == 0:
        return np.zeros(size, np.uint8)
    height, width = size
    outlines, length = [], 0.0
    for polygon in polygons:
        points = _points(polygon, where)
        if normalised:
            require_fractions(points, where, "polygon")
            points = points * torch.tensor([width, height])
        if points.abs().max() > _FARTHEST * max(size):
            raise DataError(f"{where}: a polygon reaches {float(points.abs().max()):g} pixels; correct or remove it")
        length += float((points - points.roll(1, 0)).abs().amax(1).sum())
        if length > _LONGEST:
            raise DataError(
                f"{where}: the outline of the mask is longer than {_LONGEST:,} pixels; simplify or remove it"
            )
        outlines.append(points.flatten().tolist())
    return _from_runs(coco.merge(coco.frPyObjects(outlines, height, width)), size, where)


def _points(polygon: Any, where: str) -> Tensor:
    try:
        values = torch.from_numpy(np.asarray(polygon, np.float64))
    except (ValueError, TypeError, OverflowError):
        values = torch.full((1,), torch.nan)
    if values.ndim != 1 or not values.isfinite().all():
        raise DataError(
            f"{where}: a polygon is not a flat list of finite numbers x, y, x, y, ...; correct the mask or "
            "data.init_args.mask_field"
        )
    return values.reshape(-1, 2)


def _from_runs(value: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.uint8]:
    # not by pycocotools, which leaves the pixels beyond the last run as they were in memory, and warns of NumPy 2
    counts = value["counts"]
    if counts is None:
        raise DataError(f"{where}: the mask is missing; add it, remove the object, or set data.init_args.masks: false")
    shape = value.get("size")
    if not isinstance(shape, list | tuple) or len(shape) != 2:
        raise DataError(f"{where}: the run lengths of the mask come with the size {shape}, not height and width")
    require_size(tuple(shape), size, where)
    runs = _run_lengths(counts.encode() if isinstance(counts, str) else counts)
    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise DataError(
            f"{where}: the run lengths of the mask are damaged: they do not add up to its {size[1]}x{size[0]} pixels; "
            "correct or remove it"
        )
    pixels = np.repeat((np.arange(len(runs)) % 2).astype(np.uint8), runs)
    return np.ascontiguousarray(pixels.reshape(size[1], size[0]).T)


def _run_lengths(counts: Any) -> list[Any]:
    """The numbers in COCO's text: five bits a character, from the lowest on; from the fourth on, differences."""
    if not isinstance(counts, bytes):
        return list(counts) if isinstance(counts, list | tuple) else []
    runs: list[int] = []
    value = shift = 0
    for code in (byte - 48 for byte in counts):
        if shift > _BITS:
            return []
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
