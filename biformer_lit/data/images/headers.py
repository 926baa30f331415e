"""Sizes and orientations of stored images from the first bytes of their files, without decoding a pixel."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from biformer_lit.data.images.decoding import DECODING_ERRORS, known_formats
from biformer_lit.data.images.orientation import TURNS, UPRIGHT, turn_of


class Header(NamedTuple):
    """Information in the header of an image file.

    Attributes:
        size: Height and width, upright.
        orientation: The number of EXIF's orientation, 1 to 8.
    """

    size: tuple[int, int]
    orientation: int


def read_header(value: Any) -> Header | None:
    """Size and orientation of what is stored for an image, None if they cannot be read.

    Args:
        value: As for ``decode_image``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what decodes the image warns
        return _read(value)


def _read(value: Any) -> Header | None:
    try:
        if isinstance(value, np.ndarray):
            return Header((int(value.shape[0]), int(value.shape[1])), UPRIGHT)
        if isinstance(value, Image.Image):
            return _header(value)
        if isinstance(value, dict):
            value = value["path"] if value.get("bytes") is None else value["bytes"]
        if isinstance(value, str) and not Path(value).is_file():  # a device never ends, and a pipe never begins
            return None
        with Image.open(value if isinstance(value, str) else BytesIO(value), formats=known_formats()) as image:
            return _header(image)
    except DECODING_ERRORS:
        return None


def exif_orientation(image: Image.Image) -> int:
    """The number of EXIF's orientation of an image, 1 if there is none or it is unknown.

    Of a PNG that has not been decoded, what stands behind its pixels is not looked for.
    """
    if image.format == "PNG" and "exif" not in image.info and "Raw profile type exif" not in image.info:
        return UPRIGHT  # Pillow would decode all of it
    orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    return orientation if orientation in TURNS else UPRIGHT


def _header(image: Image.Image) -> Header:
    orientation = exif_orientation(image)
    size = image.height, image.width
    # of a TIFF Pillow tells the upright size before it has turned it
    return Header(size if image.format == "TIFF" else turn_of(orientation).stored_size(size), orientation)
