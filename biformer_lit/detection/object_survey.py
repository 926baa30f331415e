"""A look at all objects of a split before the first epoch: rows that cannot be used, and splits without any to score.

No image is decoded: Arrow tells which rows may be damaged, and only those are read.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from biformer_lit.data.images.decoding import BadImageError
from biformer_lit.data.images.headers import read_header
from biformer_lit.data.labels import Integers, stored_column
from biformer_lit.detection.boxes import LARGEST_FRACTION
from biformer_lit.detection.object_masks import decode_object_mask
from biformer_lit.detection.object_reading import NO_OBJECTS, ObjectFields, ReadObjects, field_values
from biformer_lit.errors import DataError

_ANY_SIZE = 10**6  # height and width where no check depends on them


def count_by_row(column: pa.ChunkedArray, field: str) -> Integers:
    """Number of objects in each row, by the lists of one field."""
    lists = pc.struct_field(column, field) if pa.types.is_struct(column.type) else column
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)


def crowds(column: pa.ChunkedArray, fields: ObjectFields) -> Integers:
    """Return the number of crowds (``iscrowd``) of each row."""
    count = count_by_row(column, fields.box)
    if fields.crowd is None or not np.array_equal(count_by_row(column, fields.crowd), count):
        return np.zeros_like(count)
    values = _as_numbers(field_values(column, fields.crowd))
    if values is None:  # the error comes with the row
        return np.zeros_like(count)
    rows = np.repeat(np.arange(len(count)), count)
    return np.bincount(rows, np.nan_to_num(values) != 0, len(count)).astype(np.int64)


def _as_numbers(values: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Values as float64, NaN where there is none; None if they hold what Arrow takes for no number."""
    try:
        return np.asarray(pc.fill_null(values.cast(pa.float64(), safe=False), float("nan")))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def require_scored(column: pa.ChunkedArray, fields: ObjectFields, what: str, remedy: str) -> None:
    """Refuse rows of which no object counts.

    Args:
        column: The objects.
        fields: What is stored where.
        what: What the rows are, at the beginning of the error.
        remedy: What to do, at its end.

    Raises:
        DataError: If there is no object in them, or nothing but crowds.
    """
    count = int(count_by_row(column, fields.box).sum())
    many = int(crowds(column, fields).sum())
    if count == 0:
        raise DataError(f"{what} no object at all; {remedy}")
    if many == count:
        raise DataError(
            f"{what} nothing but crowds ({fields.crowd} is not 0 for any of the {count} objects), which are neither "
            f"trained on nor scored; correct {fields.crowd}, or {remedy}"
        )


def require_readable(table: Any, image_column: str, split: str, read: ReadObjects) -> None:
    """Read what looks damaged in any row, so that its error comes before the first epoch.

    Args:
        table: The split.
        image_column: Column with the image.
        split: Name of the split.
        read: How objects are read.

    Raises:
        DataError: About the first row whose objects cannot be used; it counts the others.
    """
    suspects = np.flatnonzero(_suspects(stored_column(table, read.fields.column), read))
    for number, row in enumerate(suspects.tolist()):
        problem = _problem(table[row], image_column, f"split {split!r}, row {row}", read)
        if problem is not None:
            others = len(suspects) - number - 1
            raise DataError(problem + (f" ({others} more rows of the split look damaged)" if others else ""))


def _problem(row: dict[str, Any], image_column: str, where: str, read: ReadObjects) -> str | None:
    """The error that the row will raise when it is read, if it does."""
    header = read_header(row.get(image_column))
    try:
        if header is None:  # the error of the image comes when it is read
            objects, _ = _without_masks(read)(row, (_ANY_SIZE, _ANY_SIZE), where)
        else:
            objects, _ = read(row, header.size, where, header.orientation)
    except BadImageError:  # which may be skipped
        return None
    except DataError as error:
        return str(error)
    return f"{where}: {NO_OBJECTS}" if objects is None else None


def _without_masks(read: ReadObjects) -> ReadObjects:
    return ReadObjects(read.fields, read.classes, read.box_format, read.normalised, False, read.frame)


def _suspects(column: pa.ChunkedArray, read: ReadObjects) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the rows that may contain an error; all others are certainly sound."""
    fields = read.fields
    count = count_by_row(column, fields.box)
    lists = pc.struct_field(column, fields.box) if pa.types.is_struct(column.type) else column
    suspect = np.array(pc.is_null(lists))
    for field in fields[2:]:
        if field is not None and (read.masks or field != fields.mask):
            suspect |= count_by_row(column, field) != count
        measured = field is not None and field in (fields.area, fields.crowd)
        if measured and _as_numbers(field_values(column, str(field))) is None:
            suspect[:] = True
    rows = np.repeat(np.arange(len(count)), count)
    boxes = field_values(column, fields.box)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(boxes), 0))
    suspect[rows[lengths != 4]] = True
    numbers = pc.fill_null(pc.list_flatten(boxes).cast(pa.float64(), safe=False), float("nan"))
    values = np.asarray(numbers)
    wrong = ~np.isfinite(values)
    if read.normalised:
        wrong |= values > LARGEST_FRACTION
    suspect[np.repeat(rows, lengths)[wrong]] = True
    if read.masks and fields.mask is not None and not suspect.any():
        suspect[rows[_suspect_masks(field_values(column, fields.mask), read.normalised)]] = True
    return suspect


def _suspect_masks(masks: pa.ChunkedArray, normalised: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the masks that may be wrong: missing, run lengths that do not add up, values that are no numbers."""
    if pa.types.is_struct(masks.type):
        names = [masks.type.field(i).name for i in range(masks.type.num_fields)]
        if "counts" not in names:
            return np.asarray(pc.is_null(masks))
        return np.array([not _adds_up(value) for value in masks.to_pylist()], bool)
    suspect = np.asarray(pc.is_null(masks))
    lists, owner = masks, np.arange(len(masks))
    while pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type):
        owner = np.repeat(owner, np.asarray(pc.fill_null(pc.list_value_length(lists), 0)))
        lists = pc.list_flatten(lists)
    if not (pa.types.is_floating(lists.type) or pa.types.is_integer(lists.type)):
        return suspect
    values = np.asarray(pc.fill_null(lists.cast(pa.float64(), safe=False), float("nan")))
    suspect[owner[~np.isfinite(values) | ((values > LARGEST_FRACTION) & normalised)]] = True
    return suspect


def _adds_up(value: Any) -> bool:
    size = (value or {}).get("size")
    if not isinstance(size, list) or len(size) != 2 or None in size or 0 in size:
        return False
    try:
        decode_object_mask(value, (size[0], size[1]), False, "")
    except DataError:
        return False
    return True
