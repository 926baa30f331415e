"""A look at the pixels of label maps before a run begins: which classes they hold, and values that are none."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from biformer_lit.data.headers import Header, read_header
from biformer_lit.data.images import is_empty
from biformer_lit.data.labels import Integers
from biformer_lit.data.masks import LabelRange, decode_mask, require_size
from biformer_lit.data.orientation import turn_of
from biformer_lit.data.samples import Source
from biformer_lit.data.survey import Survey, in_time
from biformer_lit.errors import DataError


@dataclass
class PixelSurvey(Survey):
    """What was seen of label maps.

    Attributes:
        pixels: Pixels of each class (classes,), int64.
        ignored: Pixels that hold no class.
    """

    pixels: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: int = 0

    def require_two_classes(self, split: str, names: list[str], ignore_index: int) -> None:
        """Refuse label maps of which all but one class are ignored, as those are that are stored as 0 and 255.

        Raises:
            DataError: If all of them were looked at, and hold one class and pixels to ignore.
        """
        present = np.flatnonzero(self.pixels)
        if self.looked < self.of or len(present) != 1 or not self.ignored or len(names) < 2 or self.faults:
            return
        raise DataError(
            f"split {split!r}: beside {ignore_index}, which is ignored, its masks hold the class "
            f"{names[int(present[0])]!r} alone, so that any network would seem right; if {ignore_index} is a class "
            "(as in masks of 0 and 255), store it as its number, else set another data.init_args.ignore_index or "
            "reduce_zero_label, or name another split"
        )


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


def require_header(value: Any, image: Header, where: str) -> None:
    """Refuse a label map whose header tells another size than its image has, or cannot be read.

    Args:
        value: The label map as stored.
        image: What the header of the image tells; the map may have its stored size or its upright one.
        where: What the message of an error starts with.

    Raises:
        BadImageError: If the sizes differ, or the map cannot be read.
    """
    header = read_header(value)
    shape = decode_mask(value, where).shape if header is None else header.size
    if shape != turn_of(image.orientation).stored_size(image.size):
        require_size(shape, image.size, where)
