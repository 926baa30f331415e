"""Label maps: from stored pictures to class numbers, and the names of the classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from biformer_lit.data.checks import require
from biformer_lit.data.class_numbers import numbers_in_split
from biformer_lit.data.columns import listed
from biformer_lit.data.folder.files import Files, read_text
from biformer_lit.data.images import BadImageError, open_image, read_tiff, reading, stored_content, upright
from biformer_lit.data.labels import Integers
from biformer_lit.data.loading import local_path
from biformer_lit.data.tiff import INTEGERS, is_tiff, tiff_layout
from biformer_lit.errors import DataError

ID2LABEL = "id2label.json"

_MOST_BYTES = 2**24  # of the names of classes
_MODES = {"L", "P", "1", "I"}


def decode_mask(value: Any, where: str) -> Integers:
    """Decode one stored label map, whose pixels are numbers of classes.

    The EXIF orientation is applied, so that the map lies on its image as ``decode_image`` gives it. Modes ``L``,
    ``1``, ``I`` and ``I;16`` (in every byte order) are taken as they are; of ``P`` the indices, not the colours.

    Args:
        value: As for ``decode_image``.
        where: What the message of an error starts with.

    Returns:
        The stored numbers, (height, width).

    Raises:
        BadImageError: If there is no label map, or it cannot be read.
        DataError: If its pixels cannot be numbers of classes: colours, fractions, or changed by JPEG.
    """
    with reading(where, "mask"):
        stored = stored_content(value)
        if isinstance(stored, bytes) and is_tiff(stored):
            layout = tiff_layout(stored)
            if layout.is_inverted and layout.bits[0] > 1:
                raise DataError(
                    f"{where}: the mask is a TIFF in which 0 is white, so that its numbers are not those of classes; "
                    "store it as PNG"
                )
            if layout.bands == 1 and layout.kind[0] in INTEGERS and not layout.is_for_pillow():
                return read_tiff(stored, layout)[:, :, 0].astype(np.int64)
        image = open_image(stored)
        kind, image = image.format, upright(image)
    if image.mode not in _MODES and not image.mode.startswith("I;16"):
        raise DataError(
            f"{where}: the mask has mode {image.mode}, but its pixels must be numbers of classes; store it with one "
            "channel (PNG of mode L, P, 1, I;16 or I), or set data.init_args.mask_column"
        )
    if kind in {"JPEG", "MPO"}:
        raise DataError(f"{where}: the mask is a JPEG, which changes the numbers of its pixels; store it as PNG")
    return np.asarray(image).astype(np.int64)


def require_size(mask: tuple[int, ...], image: tuple[int, int], where: str) -> None:
    """Refuse a mask of another size than its image.

    Args:
        mask: Height and width of the mask.
        image: Height and width of the image, upright.
        where: What the message of the error starts with.

    Raises:
        BadImageError: If they differ; which of the two is wrong is not known, but the row cannot be used.
    """
    if tuple(mask) != image:
        raise BadImageError(
            f"{where}: the mask has {mask[1]}x{mask[0]} pixels, but its image has {image[1]}x{image[0]} "
            "(upright, as its EXIF orientation says); make them alike or remove the row, or set "
            "data.init_args.on_bad_image: skip"
        )


@dataclass(frozen=True)
class LabelRange:
    """Which stored numbers are which classes.

    Attributes:
        num_classes: Number of classes.
        ignore_index: The number that means no class, stored and in batches.
        reduce_zero_label: Whether the stored 0 means no class too, and class 0 is stored as 1.
        numbers: The number in batches of each class; None for the same number as stored.
    """

    num_classes: int
    ignore_index: int
    reduce_zero_label: bool
    numbers: tuple[int, ...] | None = None

    def encode(self, stored: Integers, where: str) -> Integers:
        """Class numbers, or ``ignore_index``, of the stored numbers, in the same shape.

        Args:
            stored: A label map as stored.
            where: What the message of an error starts with.

        Raises:
            DataError: If a number is no class and does not mean none; the message names the first such number.
        """
        first = int(self.reduce_zero_label)
        ignored = stored == self.ignore_index
        if self.reduce_zero_label:
            ignored |= stored == 0
        wrong = ~ignored & ((stored < first) | (stored >= first + self.num_classes))
        if wrong.any():
            value = int(stored[wrong][0])
            raise DataError(
                f"{where}: the mask holds the label {value}, but the {self.num_classes} classes are stored as "
                f"{first}..{first + self.num_classes - 1}, and {self.ignore_index} is ignored; correct the mask, or "
                "data.init_args.num_classes, ignore_index or reduce_zero_label"
            )
        classes = np.where(ignored, 0, stored - first)
        if self.numbers is not None:
            classes = np.asarray(self.numbers, np.int64)[classes]
        return np.where(ignored, self.ignore_index, classes)


def read_id2label(dataset: str, ignore_index: int) -> list[str] | None:
    """Names of the classes from ``id2label.json`` in a local folder.

    The numbers are those of the classes that are trained on, after ``reduce_zero_label``, as in the files of that
    name on the hub; an entry for ``ignore_index`` is passed over.

    Args:
        dataset: What the user gave as the data set.
        ignore_index: The number that means no class.

    Returns:
        One name per class, or None if there is no such file.

    Raises:
        DataError: If the file does not number the classes 0, 1, 2, ... and name each.
    """
    path = local_path(dataset) / ID2LABEL
    if not path.is_file():
        return None
    Files.of_folder(path.parent).locate(ID2LABEL, str(path.parent))
    try:
        content = json.loads(read_text(path, _MOST_BYTES))
        names = {int(number): str(name) for number, name in content.items() if int(number) != ignore_index}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f'{path}: does not name the classes; write {{"0": "first name", "1": ...}}') from error
    if not names or sorted(names) != list(range(len(names))):
        missing = next(number for number in range(len(names) + 1) if number not in names)
        raise DataError(f"{path}: does not name class {missing}; number the classes 0, 1, 2, ... without gaps")
    return [names[number] for number in range(len(names))]


def listed_classes(features: datasets.Features) -> list[str] | None:
    """Names of the stored labels from a column that lists the classes in each image, if there is just one such."""
    lists = [listed(feature) for feature in features.values()]
    found = [list(item.names) for item in lists if isinstance(item, datasets.ClassLabel)]
    return found[0] if len(found) == 1 else None


def stored_classes(
    dataset: str, features: datasets.Features, names: Sequence[str], reduce_zero_label: bool, split: str
) -> list[int]:
    """The number in a data set of each class that one of its splits stores, in the order in which it stores them.

    Args:
        dataset: What the user gave as the data set.
        features: The columns of the split.
        names: Names of the classes of the data set.
        reduce_zero_label: Whether the stored 0 means no class.
        split: Name of the split.

    Raises:
        DataError: If the split has classes that are none of the data set's.
    """
    stored = None if (local_path(dataset) / ID2LABEL).is_file() else listed_classes(features)
    return (
        list(range(len(names))) if stored is None else numbers_in_split(stored[int(reduce_zero_label) :], names, split)
    )


def name_classes(
    dataset: str, features: datasets.Features, num_classes: int | None, ignore_index: int, reduce_zero_label: bool
) -> list[str]:
    """Names of the classes of a data set with label maps.

    They come from ``id2label.json`` in a local folder, else from a column of the data set that lists the classes in
    each image (``ClassLabel``), else they are numbers.

    Args:
        dataset: What the user gave as the data set.
        features: Its columns.
        num_classes: The number of classes the user expects, if given.
        ignore_index: The number that means no class.
        reduce_zero_label: Whether the stored 0 means no class.

    Returns:
        One name per class.

    Raises:
        ConfigError: If ``num_classes`` is not the number of names, or ``ignore_index`` is a class.
        DataError: If the number of classes cannot be known, or ``id2label.json`` does not fit.
    """
    names, source = read_id2label(dataset, ignore_index), ID2LABEL
    if names is None:
        stored, source = listed_classes(features), "the data set"
        names = stored[int(reduce_zero_label) :] if stored else None
    if names is None and num_classes is None:
        raise DataError(
            f"data.init_args.num_classes: nothing names the classes of {dataset!r}; set it, or write {ID2LABEL} into "
            "the folder of the data set"
        )
    if names is None:
        names = [str(number) for number in range(num_classes or 0)]
    problem = f"given, but {source} names {len(names)} classes; leave it out or correct it"
    require(num_classes in {None, len(names)}, "num_classes", num_classes, problem)
    problem = f"is one of the {len(names)} classes; choose a number outside 0..{len(names) - 1}"
    require(not 0 <= ignore_index < len(names), "ignore_index", ignore_index, problem)
    return names
