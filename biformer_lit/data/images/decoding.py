"""From whatever a data set stores for an image to an upright 8-bit RGB picture."""

import functools
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from biformer_lit.data.images.orientation import TURNS, UPRIGHT, turn_of
from biformer_lit.data.images.rendering import (
    PLAIN,
    Facts,
    Rendering,
    named,
    picture_of_pillow,
    picture_of_values,
    refuse_bands,
    require_alpha,
    require_bright,
)
from biformer_lit.data.images.tiff import TiffLayout, is_tiff, read_bands, tiff_layout
from biformer_lit.errors import BiFormerLitError, DataError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "QOI")
"""What is read, as Pillow calls it. Pillow knows more formats, some of which start other programs (EPS) or are hardly
ever looked at."""
MOST_PIXELS = 89_478_485
"""Of an image: what Pillow warns of. Memory is bounded by it, at up to 16 bytes a pixel."""

_MOST_BYTES = 2**30  # of a file that a row names
_MOST_BYTES_PER_PIXEL = 16
_BIG_ENDIAN = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": ""}
"""What Pillow calls 16-bit PNGs of which it keeps the upper bytes, and how it is told to keep the lower ones."""
_STRETCHED = ("PPM", "JPEG2000")  # formats whose values of 9 to 15 bits Pillow stretches to 16
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
    ImportError,  # a codec of imagecodecs that is not built in
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow's decoders raise on damaged files, far more than ``OSError``."""


class BadImageError(DataError):
    """A single image that cannot be read, which the user may choose to skip."""


def decode_image(value: Any, where: str, rendering: Rendering = PLAIN) -> Image.Image:
    """Decode one stored image to 8-bit RGB.

    The EXIF orientation is applied. Then:

    - images of 8 bits and less (``1``, ``L``, ``P``, ``YCbCr``, ``CMYK``, ``HSV``) are converted as Pillow does;
    - anything with transparency (``LA``, ``RGBA``, ``P`` or ``L`` with a transparent colour) is composited
      over white; the band of a TIFF file only if it is marked as alpha and looks like one;
    - 16-bit images (and ``I``, in which Pillow keeps some of them) are scaled linearly, 0..65535 to 0..255, by a fixed
      factor: nothing is clipped, and the images of a set stay comparable. One whose values end below 4096 would be
      nearly black, and is refused without a declared range;
    - floating-point and signed numbers need a declared range;
    - bands beyond grey, colours and alpha need a declared choice.

    Args:
        value: ``{"bytes": ..., "path": ...}`` as stored by ``datasets``, encoded bytes, a Pillow image, or
            an array of shape (height, width) or (height, width, bands).
        where: What the message of an error starts with, for instance ``split 'train', row 17``.
        rendering: The declared range and bands.

    Returns:
        An RGB image of the stored size (after the orientation is applied).

    Raises:
        BadImageError: If there is no image, or it is truncated, damaged, missing on disk, in none of ``FORMATS``,
            of more than ``MOST_PIXELS``, or what reads it is not installed.
        DataError: If its bands or the range of its values have to be declared, or are not those declared.
    """
    return decode_turned(value, where, rendering)[0]


def decode_turned(value: Any, where: str, rendering: Rendering = PLAIN) -> tuple[Image.Image, int]:
    """Decode an image as ``decode_image`` does, and return its EXIF orientation, 1 to 8."""
    with reading(where, "image"):
        stored = stored_content(value)
        if isinstance(stored, np.ndarray):
            return _from_array(stored, rendering, where), 1
        if isinstance(stored, bytes) and is_tiff(stored):
            layout = tiff_layout(stored)
            return _from_tiff(
                stored, layout, rendering, where
            ), layout.orientation if layout.orientation in TURNS else UPRIGHT
        image = open_image(stored)
        raw, top = _raw_mode(image)
        sixteen = isinstance(stored, bytes) and (raw in _BIG_ENDIAN or (image.format == "PPM" and top > 255))
        turned, orientation = turn_upright(image)
        deep = sixteen or turned.mode.startswith("I")
        facts = Facts(65535.0, f"{'16-bit ' if deep else ''}{image.format or image.mode} image", where)
        if deep and image.format in _STRETCHED and rendering.value_range is not None:
            raise DataError(
                f"{where}: the image is {named(facts.what)}, which says itself what is white; leave "
                "data.init_args.value_range out, or store all images as PNG or TIFF"
            )
        if raw in _BIG_ENDIAN and sixteen and rendering != PLAIN:
            values = turn_of(orientation).pixels(_both_bytes(stored, raw))
            return picture_of_values(values, rendering, facts, 2 if values.shape[2] == 4 else None), orientation
        if sixteen and turned.mode != "I":
            require_bright(turned, facts)
        return picture_of_pillow(turned, rendering, facts), orientation


def _from_array(array: NDArray[Any], rendering: Rendering, where: str) -> Image.Image:
    values = array[:, :, None] if array.ndim == 2 else array
    if values.ndim != 3 or values.size == 0:
        raise ValueError(f"an array of shape {array.shape}")
    what = f"{values.shape[2]}-band array of {array.dtype}"
    if values.shape[2] not in (1, 3) and rendering.bands is None:
        raise refuse_bands(what, where)
    white = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0, "int32": 65535.0}.get(array.dtype.name)
    return picture_of_values(values, rendering, Facts(white, what, where))


def _from_tiff(content: bytes, layout: TiffLayout, rendering: Rendering, where: str) -> Image.Image:
    require_pixels(layout.width, layout.height)
    facts = Facts(layout.white, layout.name, where)
    if rendering.bands is None and layout.bands != layout.colours and not layout.has_alpha:
        raise refuse_bands(layout.name, where)
    deep, several, grey_or_rgb = layout.bits[0] > 8, layout.bands > 1, layout.photometric in (0, 1, 2)
    image = None
    exact = several and (rendering.bands is not None or (deep and rendering.value_range is not None))
    if layout.is_for_pillow() and not (exact and grey_or_rgb):
        image = _identified(content)
    if image is not None:
        image.load()  # which turns it
        if layout.has_alpha:
            require_alpha(np.asarray(image.getchannel(len(image.getbands()) - 1)), facts)
        if deep and several:
            require_bright(image, facts)
        return picture_of_pillow(image, rendering, facts)
    if not grey_or_rgb:
        raise ValueError(f"a {layout.name} whose colours are stored in a way that is not read; convert it to RGB")
    values = read_tiff(content, layout)
    return picture_of_values(
        values, rendering, facts, layout.extra[0] if layout.has_alpha else None, layout.is_inverted
    )


@contextmanager
def reading(where: str, what: str) -> Iterator[None]:
    """Make a one-line ``BadImageError`` of whatever goes wrong while an image is decoded.

    Args:
        where: What the message starts with.
        what: What is decoded.
    """
    try:
        yield
    except BiFormerLitError:  # of a setting, which has its own words
        raise
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


def stored_content(value: Any) -> Any:
    """Return the stored content of an image: its bytes, or the Pillow image or array given instead.

    Raises:
        ValueError: If there is none.
        OSError: If it cannot be read.
    """
    if isinstance(value, Image.Image | np.ndarray):
        return value
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        value = read_file(path) if content is None and path is not None else content
    if value is None:
        raise ValueError("no image is stored")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"expected an image, got {type(value).__name__}")
    if len(value) == 0:
        raise ValueError("zero bytes are stored")
    return bytes(value)


def open_image(content: Any) -> Image.Image:
    """Open what ``stored_content`` found; raises whatever Pillow raises."""
    if isinstance(content, Image.Image):
        return content
    if isinstance(content, np.ndarray):
        flat = content.ndim == 3 and content.shape[2] == 1
        return Image.fromarray(np.ascontiguousarray(content[:, :, 0] if flat else content))
    image = _identified(content)
    if image is None:
        raise ValueError(f"not an image, or in none of the formats {', '.join(known_formats())}")
    return image


def _identified(content: bytes) -> Image.Image | None:
    """An image that Pillow has opened, None if it is in no format that is known."""
    try:
        image = Image.open(BytesIO(content), formats=known_formats())
    except UnidentifiedImageError:
        return None
    require_pixels(image.width, image.height)
    return image


def require_pixels(width: int, height: int) -> None:
    """Refuse an image of too many pixels, before they are decoded."""
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels, above the limit of {MOST_PIXELS:,}")
    if width * height == 0:
        raise ValueError("an image without pixels")


def read_tiff(content: bytes, layout: TiffLayout) -> NDArray[Any]:
    """All bands of a TIFF file as they are stored (height, width, bands), upright; see ``read_bands``."""
    require_pixels(layout.width, layout.height)
    values = read_bands(content, layout, MOST_PIXELS * _MOST_BYTES_PER_PIXEL)
    upright_values: NDArray[Any] = turn_of(layout.orientation).pixels(values)
    return upright_values


def _raw_mode(image: Image.Image) -> tuple[str, int]:
    """Return the mode in which Pillow is to decode an opened image, and the other arguments for it."""
    tiles = getattr(image, "tile", None)
    args: Any = tiles[0].args if tiles else None
    name, more = (args[0], args[1:]) if isinstance(args, tuple) and args else (args, ())
    return str(name), next((one for one in more if isinstance(one, int)), 0)


def _both_bytes(content: bytes, raw: str) -> NDArray[Any]:
    """Values of a 16-bit PNG of several bands, of which Pillow keeps one byte: here it reads first one, then the other.

    Raises:
        ValueError: If it has grey and alpha, of which Pillow reads the upper bytes only.
    """
    upper, lower = open_image(content), open_image(content)
    if not _BIG_ENDIAN[raw]:
        raise ValueError("16-bit grey with alpha, of which Pillow reads 8 bits; store it without alpha")
    lower.tile = [tile._replace(args=_BIG_ENDIAN[raw]) for tile in lower.tile]  # type: ignore[attr-defined]
    values: NDArray[Any] = np.asarray(upper).astype(np.uint16) << 8 | np.asarray(lower)
    return values


def read_file(path: str | os.PathLike[str], most: int = _MOST_BYTES) -> bytes:
    """Contents of a regular file of at most ``most`` bytes.

    Devices and pipes never end or never begin. What the kernel shows as files claims to be empty, and reading it may
    wait for something to happen.

    Raises:
        ValueError: If it is no regular file, is empty or longer.
        OSError: If it cannot be read.
    """
    name = repr(os.fspath(path))
    # without waiting for the other end of a pipe
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is not a file")
        if status.st_size == 0:
            raise ValueError("zero bytes are stored")
        if status.st_size > most:
            raise ValueError(f"{name} has more than {most:,} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


@functools.cache
def known_formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that the installed Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def is_empty(value: Any) -> bool:
    """Return whether nothing is stored where an image could be."""
    return value is None or (isinstance(value, dict) and value.get("bytes") is None and value.get("path") is None)


def stored_png(image: Image.Image, **options: Any) -> dict[str, bytes | None]:
    """An image as ``datasets`` stores it, as PNG; ``options`` are Pillow's."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", **options)
    return {"bytes": buffer.getvalue(), "path": None}
