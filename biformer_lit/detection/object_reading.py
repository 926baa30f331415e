"""Objects in an image: which fields hold what, and from a stored row to boxes, class numbers and masks."""

from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from biformer_lit.data.columns import BOX_FIELDS, find_field, listed, object_fields
from biformer_lit.data.images.orientation import UPRIGHT, Turn, turn_of
from biformer_lit.data.labels import UNLABELLED, Classes
from biformer_lit.detection.box_frame import BoxFrame
from biformer_lit.detection.boxes import BoxFormat, Repairs, corner_boxes, first_of_each, sound_boxes
from biformer_lit.detection.object_masks import decode_object_mask, has_pixels, mask_size, outside_share, stray_polygons
from biformer_lit.errors import DataError

Objects = dict[str, Tensor]
"""``boxes``, float32 (n, 4), left, top, right and bottom in pixels; ``labels``, class numbers, int64 (n,); ``masks``,
uint8 (n, height, width), if they are read; ``area`` in pixels, float32 (n,), and ``crowd``, bool (n,)."""

NO_OBJECTS = "the objects are missing; remove the row, or give it an empty list if it has none"
"""What is said of a row of which it is not known what is in its image."""

_CATEGORY_FIELDS = (
    *("category", "category_id", "categories", "label", "labels", "class", "class_id", "classes"),
    *("class_label", "label_id", "name"),
)
_MASK_FIELDS = ("segmentation", "mask", "masks", "segmentations", "segments")
_MOST_MASK_BYTES = 2**31  # of all objects in an image
_AREA_FIELDS = ("area", "areas")
_CROWD_FIELDS = ("iscrowd", "is_crowd", "crowd")


class ObjectFields(NamedTuple):
    """Names of the fields of the objects in ``column``; None for what is not stored."""

    column: str
    box: str
    category: str
    mask: str | None
    area: str | None
    crowd: str | None


def find_fields(
    features: datasets.Features, column: str, box: str | None, category: str | None, mask: str | None
) -> ObjectFields:
    """Find the fields of the objects.

    Args:
        features: The columns of the data set.
        column: The column that holds the objects.
        box: The name the user gave for the field of the boxes, if any.
        category: The name the user gave for the field of the categories, if any.
        mask: The name the user gave for the field of the masks, if any.

    Raises:
        ConfigError: If a field that the user named does not exist.
        DataError: If there are no boxes or categories, or they are not of a kind that can be read.
    """
    fields = object_fields(features[column])
    found_box = _needed(fields, box, BOX_FIELDS, "box_field", column, "boxes")
    found_category = _needed(fields, category, _CATEGORY_FIELDS, "category_field", column, "categories")
    number = listed(fields[found_box])
    if not (isinstance(number, datasets.Value) and number.dtype.startswith(("int", "uint", "float"))):
        raise DataError(
            f"data.init_args.box_field: field {found_box!r} of column {column!r} does not hold lists of four numbers; "
            f"name another of {', '.join(fields)}, or convert it"
        )
    if not isinstance(fields[found_category], datasets.Value | datasets.ClassLabel):
        raise DataError(
            f"data.init_args.category_field: field {found_category!r} of column {column!r} does not hold one integer "
            f"or string for each object; name another of {', '.join(fields)}, or convert it"
        )
    return ObjectFields(
        column,
        found_box,
        found_category,
        find_field(fields, mask, _MASK_FIELDS, "mask_field", column),
        find_field(fields, None, _AREA_FIELDS, "", column),
        find_field(fields, None, _CROWD_FIELDS, "", column),
    )


def _needed(
    fields: dict[str, Any], given: str | None, usual: tuple[str, ...], argument: str, column: str, what: str
) -> str:
    found = find_field(fields, given, usual, argument, column)
    if found is None:
        raise DataError(
            f"data.init_args.{argument}: cannot tell which field of column {column!r} holds the {what}; set it; its "
            f"fields are {', '.join(fields)}"
        )
    return found


def field_values(column: pa.ChunkedArray, field: str) -> pa.ChunkedArray:
    """Yield the stored values of one field of all objects of a split."""
    if pa.types.is_struct(column.type):
        return pc.list_flatten(pc.struct_field(column, field))
    return pc.struct_field(pc.list_flatten(column), field)


@dataclass(frozen=True)
class ReadObjects:
    """Reads the objects of a row.

    Attributes:
        fields: Where what is stored.
        classes: The classes.
        box_format: What the four numbers of a box are.
        normalised: Whether boxes and polygons are fractions of the image size.
        masks: Whether masks are read.
        frame: Which pixels the objects of an image are in that EXIF turns.
    """

    fields: ObjectFields
    classes: Classes
    box_format: BoxFormat
    normalised: bool
    masks: bool
    frame: BoxFrame = BoxFrame()  # noqa: RUF009 (frozen)

    def __call__(
        self, row: dict[str, Any], size: tuple[int, int], where: str, orientation: int = UPRIGHT
    ) -> tuple[Objects | None, Repairs]:
        """Read; see ``DetectionDataModule`` for what is done about bad boxes.

        Args:
            row: The stored row.
            size: Height and width of its image, upright.
            where: What the message of an error starts with.
            orientation: EXIF orientation in which the image is stored.

        Returns:
            The objects, in pixels of the upright image, None if what is in the image is not known, and what was done
            about bad ones.

        Raises:
            BadImageError: If a picture of a mask cannot be read.
            DataError: If an object cannot be used.
        """
        fields, whole = self.fields, turn_of(orientation)
        stored = by_field(row.get(fields.column), fields, where)
        values = stored[fields.box]
        if values is None:
            return None, Repairs()
        self._require_equal_lengths(stored, where)
        pictures = (stored[fields.mask] or []) if self.masks and fields.mask is not None else None
        turn = self._turn(row, values, pictures or [], size, whole, where)
        inner = turn.stored_size(size)
        corners = turn.boxes(corner_boxes(values, self.box_format, self.normalised, inner, where), inner)
        boxes, keep, moved = sound_boxes(corners, size)
        objects = {
            "boxes": boxes.float(),
            "labels": self._labels(stored[fields.category] or [], where),
            "crowd": _numbers(stored, fields.crowd, len(values), where).nan_to_num() != 0,
        }
        stray = 0
        if pictures is not None:
            objects["masks"] = self._masks(pictures, keep, size, turn, whole, where)
            stray = sum(stray_polygons(pictures[number]) for number in keep.nonzero().flatten().tolist())
            keep = keep & has_pixels(objects["masks"])
        objects["area"] = self._area(stored, boxes, objects.get("masks"), where)
        small = int((~keep).sum())
        first = _first_of(objects, boxes, keep)
        chosen = select(objects, first)
        repairs = Repairs(
            small,
            duplicates=int((keep & ~first).sum()),
            clipped=int((moved & first).sum()),
            fractions=small if not self.normalised and _within_one(values) else 0,
            polygons=stray,
            missed=int((outside_share(chosen["masks"], chosen["boxes"]) > 0.5).sum()) if "masks" in chosen else 0,
            crowds=int(chosen["crowd"].sum()),
            turned=len(values) if turn != Turn() else 0,
        )
        return chosen, repairs

    def _turn(
        self, row: dict[str, Any], values: Any, masks: list[Any], size: tuple[int, int], turn: Turn, where: str
    ) -> Turn:
        """Return the turn that makes the objects upright: that of their image, or none if they are upright already."""
        if turn == Turn():
            return turn
        boxes = None if self.normalised else corner_boxes(values, self.box_format, False, size, where)
        return turn if self.frame.is_stored(row, size, turn, boxes, masks) else Turn()

    def _require_equal_lengths(self, stored: dict[str, Any], where: str) -> None:
        count = len(stored[self.fields.box])
        for field, values in stored.items():
            if field == self.fields.mask and not self.masks:
                continue
            number = 0 if values is None else len(values)
            if number != count and not (values is None and field != self.fields.category):
                raise DataError(
                    f"{where}: there are {count} boxes ({self.fields.box}), but {number} of {field}; give each object "
                    "one of each, or remove the row"
                )

    def _labels(self, stored: list[Any], where: str) -> Tensor:
        labels = []
        for number, value in enumerate(stored):
            at = f"{where}, object {number}"
            label = self.classes.number(value, at)
            if label == UNLABELLED:
                raise DataError(f"{at}: the category {value} is negative or missing; correct or remove the object")
            labels.append(label)
        return torch.tensor(labels, dtype=torch.int64)

    def _masks(
        self, stored: list[Any], keep: Tensor, size: tuple[int, int], turn: Turn, whole: Turn, where: str
    ) -> Tensor:
        """Masks of those to keep, and none of the others, which are dropped anyway.

        ``turn`` is how the boxes come upright, ``whole`` how the image does: a mask with a size of its own, which shows
        whether it was turned already, goes by that.
        """
        if len(keep) * size[0] * size[1] > _MOST_MASK_BYTES:
            raise DataError(
                f"{where}: {len(keep)} masks of {size[1]}x{size[0]} pixels take more than {_MOST_MASK_BYTES:,} bytes; "
                "divide the image, or set data.init_args.masks: false"
            )
        masks = torch.zeros((len(keep), *size), dtype=torch.uint8)
        if len(stored) == 0 and len(keep):
            raise DataError(f"{where}: the masks are missing; add them, or set data.init_args.masks: false")
        inner = whole.stored_size(size)
        for number in keep.nonzero().flatten().tolist():
            at, value, own = f"{where}, object {number}", stored[number], turn
            if inner != size and (shown := mask_size(value)) is not None:
                own = {size: Turn(), inner: whole}.get(shown, turn)
            mask = decode_object_mask(value, own.stored_size(size), self.normalised, at)
            masks[number] = torch.from_numpy(own.pixels(mask.numpy()))
        return masks

    def _area(self, stored: dict[str, Any], boxes: Tensor, masks: Tensor | None, where: str) -> Tensor:
        sides = boxes[:, 2:] - boxes[:, :2]
        own = sides.prod(1) if masks is None else masks.sum((1, 2)).double()
        given = _numbers(stored, self.fields.area, len(boxes), where)
        return torch.where(given.isfinite(), given, own).float()


def _first_of(objects: Objects, boxes: Tensor, keep: Tensor) -> Tensor:
    """Return which of those to keep are no duplicate of an earlier one, bool (n,)."""
    first = torch.zeros_like(keep)
    masks = objects["masks"][keep] if "masks" in objects else None
    first[keep] = first_of_each(boxes[keep], objects["labels"][keep], objects["crowd"][keep], masks)
    return first


def select(objects: Objects, chosen: Tensor) -> Objects:
    """Some of the objects, ``chosen`` being bool (n,)."""
    return objects if bool(chosen.all()) else {name: value[chosen] for name, value in objects.items()}


def by_field(value: Any, fields: ObjectFields, where: str) -> dict[str, Any]:
    """The lists of the fields that matter; None for one that is not there."""
    names = [name for name in fields[1:] if name is not None]
    if not isinstance(value, dict):
        items = [] if value is None else value
        if not isinstance(items, list) or not all(isinstance(item, dict | NoneType) for item in items):
            raise DataError(f"{where}: {fields.column} is neither a list of structs nor a struct of lists; convert it")
        return {name: None if value is None else [(item or {}).get(name) for item in items] for name in names}
    stored = {name: value.get(name) for name in names}
    mask = stored.get(fields.mask or "")
    # how datasets before 4 reads a list of structs
    if isinstance(mask, dict) and all(isinstance(items, list) for items in mask.values()):
        rows = zip(*mask.values(), strict=False)
        stored[str(fields.mask)] = [dict(zip(mask, items, strict=True)) for items in rows]
    for name, values in stored.items():
        if not isinstance(values, list | NoneType):
            raise DataError(f"{where}: {name} holds a {type(values).__name__}, not a list; give one value per object")
    return stored


def _numbers(stored: dict[str, Any], field: str | None, count: int, where: str) -> Tensor:
    """One number for each object, NaN where there is none, float64 (count,)."""
    values = stored.get(field or "")
    if values is None:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    try:
        numbers = np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (count,):
        raise DataError(f"{where}: {field} is not one number for each object; convert or remove the field")
    return torch.from_numpy(numbers)


def _within_one(boxes: list[Any]) -> bool:
    values = np.asarray(boxes, np.float64)
    return bool(len(values)) and bool((values >= 0).all() and (values <= 1).all())
