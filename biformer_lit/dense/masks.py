"""Label maps: from stored pictures to class numbers, and the names of the classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import datasets
import numpy as np
from PIL import ExifTags

from biformer_lit.data.checks import require
from biformer_lit.data.class_numbers import numbers_in_split
from biformer_lit.data.columns import listed
from biformer_lit.data.folder.folder_files import Files, read_text
from biformer_lit.data.images.decoding import (
    BadImageError,
    open_image,
    read_tiff,
    reading,
    stored_content,
    turn_upright,
)
from biformer_lit.data.images.orientation import UPRIGHT, Turn, turn_of
from biformer_lit.data.images.tiff import INTEGERS, is_tiff, tiff_layout
from biformer_lit.data.labels import Integers
from biformer_lit.data.loading import local_path
from biformer_lit.errors import DataError
from biformer_lit.text.class_names import shorten

ID2LABEL = "id2label.json"
MaskOrientation = Literal["auto", "upright", "stored"]
"""What masks are laid on: the image turned as EXIF says, the image as stored, or what their sizes show."""

_MOST_BYTES = 2**24  # of the names of classes
_LARGEST = 65_535  # number that a class may be stored as
_UNKNOWN = np.iinfo(np.int64).min
_MODES = {"L", "P", "1", "I"}


def decode_mask(value: Any, where: str) -> Integers:
    """Decode one stored label map, whose pixels are numbers of classes.

    Its EXIF orientation is applied. Modes ``L``, ``1``, ``I`` and ``I;16`` (in every byte order) are taken as they are;
    of ``P`` the indices, not the colours.

    Args:
        value: As for ``decode_image``.
        where: What the message of an error starts with.

    Returns:
        The stored numbers, (height, width).

    Raises:
        BadImageError: If there is no label map, or it cannot be read.
        DataError: If its pixels cannot be numbers of classes: colours, fractions, or changed by JPEG.
    """
    return decode_turned_mask(value, where)[0]


def decode_turned_mask(value: Any, where: str) -> tuple[Integers, bool]:
    """Decode a mask as ``decode_mask`` does, and return whether it has an orientation of its own."""
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
                return read_tiff(stored, layout)[:, :, 0].astype(np.int64), layout.orientation != UPRIGHT
        image = open_image(stored)
        kind, (image, orientation) = image.format, turn_upright(image)
        own = orientation != UPRIGHT or ExifTags.Base.Orientation in image.getexif()
    if image.mode not in _MODES and not image.mode.startswith("I;16"):
        raise DataError(
            f"{where}: the mask has mode {image.mode}, but its pixels must be numbers of classes; store it with one "
            "channel (PNG of mode L, P, 1, I;16 or I), or set data.init_args.mask_column"
        )
    if kind in {"JPEG", "MPO"}:
        raise DataError(f"{where}: the mask is a JPEG, which changes the numbers of its pixels; store it as PNG")
    return np.asarray(image).astype(np.int64), own


def lay_on_image(
    mask: Integers, own: bool, image: tuple[int, int], orientation: int, wanted: MaskOrientation, where: str
) -> Integers:
    """Turn a mask that was made on the stored pixels of an image that EXIF turns.

    Args:
        mask: The mask, turned as its own EXIF orientation says.
        own: Whether it has one, which then holds.
        image: Height and width of the upright image.
        orientation: The image's EXIF orientation, 1 to 8.
        wanted: What masks are laid on; ``auto`` turns those that fit the stored image alone.
        where: What the message of an error starts with.

    Raises:
        DataError: If the mask has another size than its image, or ``auto`` cannot tell.
    """
    turn = turn_of(orientation)
    if turn != Turn() and not own:
        fits = mask.shape == image, mask.shape == turn.stored_size(image)
        if wanted == "auto" and all(fits):
            raise DataError(
                f"{where}: the image is turned (EXIF orientation {orientation}), and sizes do not tell whether its "
                "mask is too; set data.init_args.mask_orientation: upright if masks lie on the image as it is seen, or "
                "stored if on its stored pixels"
            )
        if wanted == "stored" or (wanted == "auto" and fits == (False, True)):
            mask = turn.pixels(mask)
    require_size(mask.shape, image, where)
    return mask


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
    """Mapping of stored numbers to classes.

    Attributes:
        num_classes: Number of classes.
        ignore_index: The number that means no class, stored and in batches.
        reduce_zero_label: Whether the stored 0 means no class too, and class 0 is stored as 1.
        numbers: The number in batches of each class; None for 0, 1, 2, ...
        values: The stored number of each class, which is a class even if it is ``ignore_index``; None for 0, 1, 2, ...,
            with ``reduce_zero_label`` from 1 on.
    """

    num_classes: int
    ignore_index: int
    reduce_zero_label: bool
    numbers: tuple[int, ...] | None = None
    values: tuple[int, ...] | None = None

    @property
    def stored(self) -> tuple[int, ...]:
        """The stored number of each class."""
        first = int(self.reduce_zero_label)
        return tuple(range(first, first + self.num_classes)) if self.values is None else self.values

    def encode(self, stored: Integers, where: str) -> Integers:
        """Class numbers, or ``ignore_index``, of the stored numbers, in the same shape.

        Args:
            stored: A label map as stored.
            where: What the message of an error starts with.

        Raises:
            DataError: If a number is no class and does not mean none; the message names the first such number.
        """
        table = np.full(_LARGEST + 3, _UNKNOWN)  # a place for each number, one for those below and one for those above
        if self.reduce_zero_label:
            table[1] = self.ignore_index
        if 0 <= self.ignore_index <= _LARGEST:
            table[self.ignore_index + 1] = self.ignore_index
        table[np.asarray(self.stored) + 1] = range(self.num_classes) if self.numbers is None else self.numbers
        classes = table[np.clip(stored, -1, _LARGEST + 1) + 1]
        if not 0 <= self.ignore_index <= _LARGEST:
            classes[stored == self.ignore_index] = self.ignore_index
        if (unknown := classes == _UNKNOWN).any():
            raise DataError(
                f"{where}: the mask holds the label {int(stored[unknown][0])}, but the {self.num_classes} classes are "
                f"stored as {self._shown()}, and {self.ignore_index} is ignored; correct the mask, or "
                "data.init_args.num_classes, ignore_index, reduce_zero_label or class_values (the stored number of "
                "each class)"
            )
        return classes

    def _shown(self) -> str:
        values = self.stored
        if values == tuple(range(values[0], values[0] + len(values))):
            return f"{values[0]}..{values[-1]}"
        return shorten([str(value) for value in values])


def read_id2label(dataset: str, ignore_index: int | None) -> dict[int, str] | None:
    """Numbers and names of the classes from ``id2label.json`` in a local folder.

    Args:
        dataset: What the user gave as the data set.
        ignore_index: The number that means no class, an entry for which is passed over; None if there is none.

    Returns:
        The name of each number, in the order of the numbers, or None if there is no such file.

    Raises:
        DataError: If the file does not name classes by numbers of 0 or more.
    """
    path = local_path(dataset) / ID2LABEL
    if not path.is_file():
        return None
    Files.of_folder(path.parent).locate(ID2LABEL, str(path.parent))
    try:
        content = json.loads(read_text(path, _MOST_BYTES))
        pairs = [(int(number), str(name)) for number, name in content.items()]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f'{path}: does not name the classes; write {{"0": "first name", "1": ...}}') from error
    names = {number: name for number, name in sorted(pairs) if number != ignore_index}
    if len(dict(pairs)) < len(pairs):
        raise DataError(f"{path}: names a class twice; write each number once")
    if not names or not 0 <= min(names) <= max(names) <= _LARGEST:
        raise DataError(f"{path}: must name classes by their stored numbers, 0 to {_LARGEST}")
    return names


@dataclass(frozen=True)
class StoredClasses:
    """The classes of a data set with label maps.

    Attributes:
        names: One name per class.
        values: The stored number of each class; None as for ``LabelRange``.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | None = None


def name_classes(
    dataset: str,
    features: datasets.Features,
    num_classes: int | None,
    ignore_index: int,
    reduce_zero_label: bool,
    class_values: tuple[int, ...] | None = None,
    *,
    fewer: bool = False,
) -> StoredClasses:
    """Names of the classes of a data set with label maps, and how they are stored.

    The names come from ``id2label.json`` in a local folder, else from a column of the data set that lists the classes
    in each image (``ClassLabel``), else they are numbers. The numbers in the file are those that masks store. With
    ``reduce_zero_label`` they may also be those of the classes that are trained on, from 0 on, as in the files of that
    name on the hub.

    Args:
        dataset: What the user gave as the data set.
        features: Its columns.
        num_classes: The number of classes the user expects, if given.
        ignore_index: The number that means no class.
        reduce_zero_label: Whether the stored 0 means no class.
        class_values: The stored number of each class, if given.
        fewer: Whether there may be fewer classes than ``num_classes``, as in data that a trained network is evaluated
            on.

    Raises:
        ConfigError: If ``num_classes`` is not the number of names, or ``ignore_index`` is a class.
        DataError: If the number of classes cannot be known, or ``id2label.json`` does not fit.
    """
    source = ID2LABEL
    known = read_id2label(dataset, None if ignore_index in (class_values or ()) else ignore_index)
    if known is not None:
        found = _from_numbers(known, reduce_zero_label, class_values, str(local_path(dataset) / ID2LABEL))
    else:
        source = "the data set"
        stored = listed_classes(features)
        given = len(class_values) if class_values else num_classes
        if stored is None and given is None:
            raise DataError(
                f"data.init_args.num_classes: nothing names the classes of {dataset!r}; set it, or write {ID2LABEL} "
                "into the folder of the data set"
            )
        names = stored[int(reduce_zero_label) :] if stored else list(map(str, class_values or range(given or 0)))
        found = StoredClasses(tuple(names), class_values)
    count = len(found.names)
    problem = f"given, but {source} names {count} classes; leave it out or correct it"
    lacking = fewer and num_classes is not None and count < num_classes
    require(num_classes in {None, count} or lacking, "num_classes", num_classes, problem)
    problem = f"numbers {len(class_values or ())} classes, but {source} names {count}; correct one of them"
    require(class_values is None or len(class_values) == count, "class_values", class_values, problem)
    problem = f"is one of the {count} classes; choose a number outside 0..{count - 1}"
    require(not 0 <= ignore_index < count, "ignore_index", ignore_index, problem)
    return found


def _from_numbers(
    known: dict[int, str], reduce_zero_label: bool, class_values: tuple[int, ...] | None, path: str
) -> StoredClasses:
    numbers, names = tuple(known), tuple(known.values())
    if class_values is not None and set(class_values) == set(numbers):
        return StoredClasses(tuple(known[value] for value in class_values), class_values)
    if numbers == tuple(range(len(numbers))):
        return StoredClasses(names, class_values)
    if class_values is not None:
        raise DataError(f"{path}: names other numbers than data.init_args.class_values; correct one of them")
    if reduce_zero_label and 0 in known:
        missing = next(number for number in range(len(numbers) + 1) if number not in known)
        raise DataError(
            f"{path}: does not name class {missing}; with data.init_args.reduce_zero_label number the classes from 0 "
            "without gaps, or by the stored numbers, of which 0 is no class"
        )
    return StoredClasses(names, numbers)


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
