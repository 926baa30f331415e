"""From whatever a data set stores for an image to an upright 8-bit RGB picture."""

import errno
import functools
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from biformer_lit.data.orientation import TURNS, UPRIGHT
from biformer_lit.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "QOI")
"""What is read, as Pillow calls it. Pillow knows more formats, some of which start other programs (EPS) or are hardly
ever looked at."""
MOST_PIXELS = 89_478_485
"""Of an image: what Pillow warns of. Memory is bounded by it, at up to 16 bytes a pixel."""

_MOST_BYTES = 2**30  # of a file that a row names
REMEDY = "repair or remove it, or set data.init_args.on_bad_image: skip"

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    MemoryError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow's decoders raise on damaged files, far more than ``OSError``."""


class BadImageError(DataError):
    """A single image that cannot be read, which the user may choose to skip."""


def decode_image(value: Any, where: str) -> Image.Image:
    """Decode one stored image to 8-bit RGB.

    The EXIF orientation is applied first. Then, by the mode of the stored image:

    - ``1``, ``L``, ``P``, ``YCbCr``, ``CMYK`` and ``HSV`` are converted as Pillow does;
    - anything with transparency (``LA``, ``RGBA``, ``P`` or ``L`` with a transparent colour) is composited
      over white;
    - 16-bit grey (``I;16`` in every byte order, and ``I``, in which Pillow keeps 16-bit files) is scaled
      linearly, 0..65535 to 0..255, by a fixed factor: nothing is clipped, and the images of a set stay
      comparable;
    - ``F`` is taken as 0..1 if every value lies in that range, as 0..255 otherwise.

    Args:
        value: ``{"bytes": ..., "path": ...}`` as stored by ``datasets``, encoded bytes, a Pillow image, or
            an array of shape (height, width) or (height, width, 1 to 4).
        where: What the message of an error starts with, for instance ``split 'train', row 17``.

    Returns:
        An RGB image of the stored size (after the orientation is applied).

    Raises:
        BadImageError: If there is no image, or it is truncated, damaged, missing on disk, in none of ``FORMATS``,
            of more than ``MOST_PIXELS`` or has values outside the documented ranges.
    """
    return decode_turned(value, where)[0]


def decode_turned(value: Any, where: str) -> tuple[Image.Image, int]:
    """What ``decode_image`` does, and the EXIF orientation, 1 to 8, in which the image is stored."""
    with reading(where, "image"):
        image, orientation = turn_upright(open_image(value))
        return _to_rgb(image), orientation


@contextmanager
def reading(where: str, what: str) -> Iterator[None]:
    """Make a one-line ``BadImageError`` of whatever goes wrong while an image is decoded.

    Args:
        where: What the message starts with.
        what: What is decoded.
    """
    try:
        yield
    except DECODING_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImageError(f"{where}: the {what} cannot be read ({reason}); {REMEDY}") from error


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    return turn_upright(image)[0]


def turn_upright(image: Image.Image) -> tuple[Image.Image, int]:
    """The image turned as its EXIF orientation says, and that orientation, 1 to 8."""
    # Pillow turns TIFF while it decodes, and forgets the orientation then
    before = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) if image.format == "TIFF" else UPRIGHT
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    if orientation != UPRIGHT:  # transposing copies, and few need it
        image = ImageOps.exif_transpose(image)
    found = orientation if orientation != UPRIGHT else before
    return image, found if found in TURNS else UPRIGHT


def open_image(value: Any) -> Image.Image:
    """Open what is stored for an image, see ``decode_image``; raises whatever Pillow raises."""
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        if content is None and path is not None:
            content = _read(Path(path))
        value = content
    if value is None:
        raise ValueError("no image is stored")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"expected an image, got {type(value).__name__}")
    if len(value) == 0:
        raise ValueError("zero bytes are stored")
    try:
        image = Image.open(BytesIO(value), formats=known_formats())
    except UnidentifiedImageError as error:  # its own text shows a memory address
        raise ValueError(f"not an image, or in none of the formats {', '.join(known_formats())}") from error
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, above the limit of {MOST_PIXELS:,}")
    return image


def _read(path: Path) -> bytes:
    """A file's contents; a row may name a device, which never ends, or a pipe, which never begins."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is not a file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {_MOST_BYTES:,} bytes")
    return path.read_bytes()


@functools.cache
def known_formats() -> tuple[str, ...]:
    """Those that the installed Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def is_empty(value: Any) -> bool:
    """Whether nothing is stored where an image could be."""
    return value is None or (isinstance(value, dict) and value.get("bytes") is None and value.get("path") is None)


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return Image.fromarray(_scale(np.asarray(image).astype(np.float64), image.mode)).convert("RGB")
    if image.has_transparency_data:
        return _over_white(image)
    return image.convert("RGB")


def _scale(values: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, Any]:
    if mode == "F":
        top = 1.0 if values.size and values.min() >= 0 and values.max() <= 1 else 255.0
    else:
        top = 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise ValueError(f"mode {mode} has values outside 0..{top:.0f}")
    return np.rint(values * (255.0 / top)).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def stored_png(image: Image.Image, **options: Any) -> dict[str, bytes | None]:
    """An image as ``datasets`` stores it, as PNG; ``options`` are Pillow's."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", **options)
    return {"bytes": buffer.getvalue(), "path": None}
