"""A look at the pixels of label maps before a run begins: which classes they hold, and values that are none."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from biformer_lit.data.images.decoding import is_empty
from biformer_lit.data.images.headers import Header, read_header
from biformer_lit.data.images.orientation import UPRIGHT
from biformer_lit.data.labels import Integers
from biformer_lit.data.samples import Source
from biformer_lit.data.survey import Survey, in_time
from biformer_lit.dense.masks import (
    LabelRange,
    MaskOrientation,
    decode_mask,
    decode_turned_mask,
    lay_on_image,
    require_size,
)
from biformer_lit.errors import DataError


@dataclass
class PixelSurvey(Survey):
    """Statistics of the label maps that were inspected.

    Attributes:
        pixels: Pixels of each class (classes,), int64.
        ignored: Pixels that hold no class.
    """

    pixels: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: int = 0


def survey_pixels(source: Source, mask_column: str, labels: LabelRange, classes: int, seconds: float) -> PixelSurvey:
    """Count the pixels of each class.

    Args:
        source: The rows, with undecoded label maps.
        mask_column: Column with the label maps.
        labels: Which stored numbers are which classes.
        classes: Number of classes of the data set.
        seconds: How long.
    """
    found = PixelSurvey(len(source.rows), pixels=np.zeros(classes, np.int64))
    for row in in_time(source.rows, seconds):
        found.looked += 1
        stored = source.table[row]
        if is_empty(stored.get(mask_column)):  # told elsewhere, where it matters
            continue
        called, where = source.names_of(row, stored)
        try:
            value = source.locate({mask_column: stored[mask_column]}, where)[mask_column]
            numbers = labels.encode(decode_mask(value, where), where)
        except DataError as error:
            found.add_fault(row, called, where, error)
            continue
        known = numbers[numbers != labels.ignore_index]
        found.pixels += np.bincount(known, minlength=classes)
        found.ignored += numbers.size - known.size
    return found


def require_header(value: Any, image: Header, wanted: MaskOrientation, where: str) -> None:
    """Refuse a label map that cannot be laid on its image, by its header where that tells enough.

    Args:
        value: The label map as stored.
        image: Size and orientation of its image.
        wanted: What label maps are laid on where EXIF turns their image.
        where: What the message of an error starts with.

    Raises:
        DataError: If the sizes differ, do not tell how the map lies, or the map cannot be read.
    """
    header = read_header(value) if image.orientation == UPRIGHT else None
    if header is None:
        mask, own = decode_turned_mask(value, where)
        lay_on_image(mask, own, image.size, image.orientation, wanted, where)
    else:
        require_size(header.size, image.size, where)
