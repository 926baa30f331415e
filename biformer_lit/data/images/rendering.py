"""From stored values, of whatever number of bits and bands, to an 8-bit RGB picture."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from biformer_lit.data.checks import require
from biformer_lit.errors import DataError

Range = tuple[float, float]

_NEARLY_BLACK = 16  # an image that reaches only so small a part of its range keeps so few of 256 grey levels
_LEAST_INSIDE = 0.01  # of the values; a range that misses nearly all of them is another data set's
_FEWEST_LEVELS = 16
_AT_ONCE = 4_000_000  # values, of 8 bytes each
_LEAST_OPAQUE = 0.5  # of a band that is marked as alpha: the share of pixels that are opaque or clear
_EXAMPLES = (1, 255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True)
class Rendering:
    """Settings that turn stored values into an 8-bit RGB image.

    Attributes:
        value_range: The stored values that become black and white; what lies beyond becomes black or white too. None
            takes what the format says, and refuses images whose format does not.
        bands: Numbers of the bands, from 1, that become red, green and blue, or of the one that becomes grey. None
            takes images of one or three bands, and alpha.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    value_range: Range | None = None
    bands: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("value_range", "bands"):  # lists, from Python or a checkpoint
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        given, bands = self.value_range, self.bands
        good = given is None or (len(given) == 2 and bool(np.isfinite(given).all()) and given[0] < given[1])
        require(good, "value_range", given, "must be two finite numbers, the value of black below that of white")
        good = bands is None or (len(bands) in (1, 3) and min(bands) >= 1)
        require(good, "bands", bands, "must be one number or three, of bands that are counted from 1")


PLAIN = Rendering()


def named(what: str) -> str:
    """Return what an image is with its article, such as "an 8-bit 4-band TIFF"."""
    return f"an {what}" if what[:1] in "8aeio" else f"a {what}"


def choose_bands(values: NDArray[Any], rendering: Rendering, what: str, where: str) -> NDArray[Any]:
    """The bands that ``rendering`` names, all where it names none.

    Args:
        values: Stored values (height, width, bands).
        rendering: Which.
        what: What the image is, for an error.
        where: What the message of an error starts with.

    Raises:
        DataError: If there is no such band.
    """
    bands = rendering.bands
    if bands is None:
        return values
    if max(bands) > values.shape[2]:
        raise DataError(
            f"{where}: the image is {named(what)} with {values.shape[2]} bands, but data.init_args.bands names band "
            f"{max(bands)}; correct it, or store all images with the same bands"
        )
    return values[:, :, [band - 1 for band in bands]]


def refuse_bands(what: str, where: str, reason: str = "which are not red, green and blue alone") -> DataError:
    """The error about an image whose bands are no colours that could be shown."""
    return DataError(
        f"{where}: the image is {named(what)}, {reason}; say which of its bands, counted from 1, are red, green and "
        "blue with data.init_args.bands: [1, 2, 3], or convert it"
    )


def scale_to_bytes(
    values: NDArray[Any], white: float | None, rendering: Rendering, what: str, where: str
) -> NDArray[np.uint8]:
    """Stored values as grey levels, linearly and the same for all images of a set.

    Args:
        values: Stored values of any shape.
        white: The value that stands for white by the image's format, 0 being black; None where the format does not say.
        rendering: The range that was declared.
        what: What the image is, for an error.
        where: What the message of an error starts with.

    Returns:
        Grey levels of the same shape.

    Raises:
        ValueError: If a value is not finite.
        DataError: If the range is not known, or cannot be that of this image; the message names the remedy.
    """
    if values.dtype.kind not in "buif":
        raise ValueError(f"a {what} with values of type {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("values that are not finite")
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    low, high = rendering.value_range or (0.0, white)
    if high is None or (rendering.value_range is None and (least < low or most > high)):
        raise DataError(
            f"{where}: the image is {named(what)} with values {least:g}..{most:g}, and nothing says which value is "
            "white; set data.init_args.value_range to the values of black and white in this data set"
            f"{_example(least, most)}"
        )
    if rendering.value_range is None:
        if high > 255 and least < most < (high + 1) / _NEARLY_BLACK:
            raise DataError(
                f"{where}: the image is {named(what)}, but its values {least:g}..{most:g} would be nearly black among "
                f"0..{high:g}; set data.init_args.value_range to the values of black and white in this data set"
                f"{_example(least, most)}, or to [0, {high:g}] if it is meant to be so dark"
            )
    else:
        _check_range(values, (low, high), (least, most), what, where)
    levels = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        part = (values[start : start + rows].astype(np.float64) - low) * 255.0 / (high - low)
        levels[start : start + rows] = np.rint(np.clip(part, 0, 255))
    return levels


def _check_range(values: NDArray[Any], limits: Range, found: Range, what: str, where: str) -> None:
    """Refuse a declared range that belongs to images of another kind."""
    low, high = limits
    inside = float(np.mean((values >= low) & (values <= high))) if values.size else 1.0
    few = values.dtype.kind != "f" and high - low + 1 < _FEWEST_LEVELS and (found[0] < low or found[1] > high)
    if few or inside < _LEAST_INSIDE or (values.dtype == np.uint8 and high > 255):
        raise DataError(
            f"{where}: the image is {named(what)} with values {found[0]:g}..{found[1]:g}, to which "
            f"data.init_args.value_range [{low:g}, {high:g}] does not apply; correct it, or store all "
            "images with the same range"
        )


def _example(least: float, most: float) -> str:
    if least < 0 or most > _EXAMPLES[-1]:
        return ""
    return f", for instance [0, {next(top for top in _EXAMPLES if most <= top)}]"


class Facts(NamedTuple):
    """Information about an image besides its pixels.

    Attributes:
        white: The value that stands for white by its format; None where the format does not say.
        what: What it is, for errors.
        where: What the message of an error starts with.
    """

    white: float | None
    what: str
    where: str


def picture_of_values(
    values: NDArray[Any], rendering: Rendering, facts: Facts, extra: int | None = None, inverted: bool = False
) -> Image.Image:
    """An RGB picture of stored values.

    Args:
        values: Stored values (height, width, bands), upright.
        rendering: The declared range and bands.
        facts: What else is known.
        extra: If the last band is alpha and no bands were chosen: 1 if the colours are multiplied by it, 2 if not.
        inverted: Whether 0 is white.
    """
    white, what, where = facts
    alpha = None
    if extra is not None and rendering.bands is None:
        opaque = PLAIN if white is None else Rendering((0.0, white))
        values, alpha = values[:, :, :-1], scale_to_bytes(values[:, :, -1:], white, opaque, what, where)
        require_alpha(alpha, facts)
    levels = scale_to_bytes(choose_bands(values, rendering, what, where), white, rendering, what, where)
    levels = 255 - levels if inverted else levels
    if alpha is not None:
        share = 1.0 if extra == 1 else alpha / 255.0
        levels = np.rint(np.clip(levels * share + (255.0 - alpha), 0, 255)).astype(np.uint8)
    return as_picture(levels)


def picture_of_pillow(image: Image.Image, rendering: Rendering, facts: Facts) -> Image.Image:
    """An RGB picture of an upright image of Pillow's."""
    white, what, where = facts
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        white = None if image.mode == "F" else white
        return picture_of_values(np.asarray(image)[:, :, None], rendering, Facts(white, what, where))
    if rendering.bands is not None:
        whole = image if image.mode in {"L", "LA", "RGB", "RGBA"} else image.convert("RGB")
        values = np.asarray(whole).reshape(whole.height, whole.width, -1)
        return picture_of_values(values, rendering, Facts(255.0, what, where))
    if image.has_transparency_data:
        picture = over_white(image)
    else:
        picture = image if image.mode == "RGB" else image.convert("RGB")
    if rendering.value_range is None:
        return picture
    return as_picture(scale_to_bytes(np.asarray(picture), 255.0, rendering, what, where))


def require_bright(image: Image.Image, facts: Facts) -> None:
    """Refuse a 16-bit image of several bands, of which Pillow kept the upper bytes, that would be nearly black."""
    bands: Any = image.getextrema()
    limits = [limit for band, pair in zip(image.getbands(), bands, strict=True) if band not in "Aa" for limit in pair]
    if max(limits) < 256 // _NEARLY_BLACK:
        scale_to_bytes(np.array(limits, np.uint16) * 256, 65535.0, PLAIN, facts.what, facts.where)


def require_alpha(alpha: NDArray[Any], facts: Facts) -> None:
    """Refuse a band that is marked as alpha, as GDAL marks any fourth band, but does not look like alpha."""
    if np.mean((alpha == 0) | (alpha == 255)) < _LEAST_OPAQUE:
        reason = "whose last band is marked as alpha, but is in most places neither opaque nor clear"
        raise refuse_bands(facts.what, facts.where, reason)


def as_picture(levels: NDArray[np.uint8]) -> Image.Image:
    """Grey levels (height, width), or (height, width, 1 or 3), as an RGB picture."""
    if levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(levels)).convert("RGB")


def over_white(image: Image.Image) -> Image.Image:
    """An image with alpha or a transparent colour, laid over white, as RGB."""
    image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")
