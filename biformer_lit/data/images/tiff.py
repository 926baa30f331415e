"""TIFF files by their tags: what lies in them, whether Pillow reads that rightly, and a reader for the rest."""

import importlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples that PhotometricInterpretation speaks of
_INVERTED, _RGB, _PALETTE = 0, 2, 3
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3  # SampleFormat
INTEGERS = (_UNSIGNED, _SIGNED)
"""Values of ``TiffLayout.kind``."""
_ASSOCIATED, _UNASSOCIATED = 1, 2  # ExtraSamples that are alpha
_UNCOMPRESSED = 1
_EXTRA = 'pip install "biformer_lit[tiff]"'


def is_tiff(content: bytes) -> bool:
    """Return whether these are the bytes of a TIFF or BigTIFF file."""
    return bytes(content[:4]) in _MAGIC


@dataclass(frozen=True)
class TiffLayout:
    """Layout of a TIFF file's first image, as its tags state it.

    Attributes:
        width: Pixels in a row.
        height: Rows.
        bands: Samples of a pixel.
        bits: Bits of each of them.
        kind: SampleFormat of each of them: 1 unsigned, 2 signed, 3 floating point.
        photometric: PhotometricInterpretation, what the first bands are.
        planar: Whether each band is stored by itself.
        extra: ExtraSamples, what the bands beyond the colours are.
        orientation: As in EXIF.
        compression: 1 for none.
        big_endian: Byte order.
    """

    width: int
    height: int
    bands: int
    bits: tuple[int, ...]
    kind: tuple[int, ...]
    photometric: int
    planar: bool
    extra: tuple[int, ...]
    orientation: int
    compression: int
    big_endian: bool

    @property
    def colours(self) -> int:
        """Number of bands that are colours; 0 if the file is neither grey nor colour."""
        return _COLOURS.get(self.photometric, 0)

    @property
    def has_alpha(self) -> bool:
        """True if there is one band beyond the colours, which is marked as alpha."""
        return len(self.extra) == 1 and self.extra[0] in (_ASSOCIATED, _UNASSOCIATED) and self.bands == self.colours + 1

    @property
    def is_inverted(self) -> bool:
        """True if 0 is white."""
        return self.photometric == _INVERTED

    @property
    def white(self) -> float | None:
        """The value that stands for white by the format itself; None where only the data's owner knows."""
        unsigned = self.kind[0] == _UNSIGNED and self.bits[0] <= 16
        return float(2 ** self.bits[0] - 1) if unsigned else None

    @property
    def name(self) -> str:
        """Description for people: ``16-bit 4-band TIFF``."""
        number = {_SIGNED: " signed", _FLOAT: " floating-point"}.get(self.kind[0], "")
        bands = "" if self.bands == 1 else f" {self.bands}-band"
        return f"{self.bits[0]}-bit{number}{bands} TIFF"

    def is_for_pillow(self) -> bool:
        """True if Pillow returns the pixels as stored; found by comparing Pillow 12 and 13 with tifffile."""
        bits, kind = self.bits[0], self.kind[0]
        if len({*self.bits}) > 1 or len({*self.kind}) > 1:
            return False
        if bits <= 8:
            return kind == _UNSIGNED and not (self.planar and self.extra[:1] == (_ASSOCIATED,))
        if self.is_inverted or (self.planar and self.bands > 1):  # of planes it makes noise, and 0 stays black
            return False
        if kind == _UNSIGNED and bits <= 16:
            return True
        # it swaps the bytes of what it has decompressed once too often
        return (
            kind != _UNSIGNED
            and self.bands == 1
            and (not self.big_endian or self.compression == _UNCOMPRESSED)
            and bits in (16, 32)
        )


def tiff_layout(content: bytes) -> TiffLayout:
    """Read the tags of the first image in a TIFF file.

    Raises:
        ValueError: If there is none.
        Exception: Whatever Pillow raises on a damaged file.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2(content[:16] if content[2:3] + content[3:4] in _BIG else content[:8])
    file = BytesIO(content)
    file.seek(tags.next)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that are damaged, some of which are of no concern here
        tags.load(file)
    if 256 not in tags or 257 not in tags:
        raise ValueError("a TIFF file without an image")
    bands = int(tags.get(277, 1))
    if not 0 < bands < 2**16:
        raise ValueError(f"a TIFF file with {bands} bands")
    return TiffLayout(
        width=int(tags[256]),
        height=int(tags[257]),
        bands=bands,
        bits=_of_each(tags.get(258, 1), bands),
        kind=tuple(max(one, _UNSIGNED) for one in _of_each(tags.get(339, 1), bands)),
        photometric=int(tags.get(262, 1)),
        planar=int(tags.get(284, 1)) == 2,
        extra=tuple(map(int, _listed(tags.get(338, ())))),
        orientation=int(tags.get(274, 1)),
        compression=int(tags.get(259, 1)),
        big_endian=content[:2] == b"MM",
    )


_BIG = (b"+\0", b"\0+")


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _of_each(value: Any, bands: int) -> tuple[int, ...]:
    found = tuple(map(int, _listed(value))) or (1,)
    return found * bands if len(found) == 1 else found[:bands]


def read_bands(content: bytes, layout: TiffLayout, most_bytes: int) -> NDArray[Any]:
    """All bands of the first image as they are stored, (height, width, bands), not turned.

    Args:
        content: The file.
        layout: Its tags.
        most_bytes: What the pixels may take.

    Raises:
        ValueError: If they take more, or what reads them is not installed; the message says what to install.
        Exception: Whatever tifffile and imagecodecs raise on a damaged file.
    """
    size = layout.width * layout.height * layout.bands * (max(layout.bits) + 7) // 8
    if size > most_bytes:
        raise ValueError(f"a {layout.name} of {size:,} bytes, above the limit of {most_bytes:,}")
    needed = ["tifffile"] if layout.compression == _UNCOMPRESSED and not layout.bits[0] % 8 else _READERS
    if missing := [name for name in needed if not _is_installed(name)]:
        raise ValueError(f"a {layout.name}, which Pillow cannot read: {' and '.join(missing)} can; {_EXTRA}")
    tifffile: Any = importlib.import_module("tifffile")
    with tifffile.TiffFile(BytesIO(content)) as file:
        page = file.pages[0]
        values: NDArray[Any] = page.asarray(maxworkers=1)
    if values.ndim == 2:
        values = values[:, :, None]
    elif layout.planar and layout.bands > 1:
        values = np.moveaxis(values, 0, -1)
    if values.shape != (layout.height, layout.width, layout.bands):
        raise ValueError(f"a {layout.name} whose pixels have the shape {values.shape}")
    return values


_READERS = ["tifffile", "imagecodecs"]
"""imagecodecs decompresses into as many bytes as an image takes; without it tifffile would take what a file holds."""


def _is_installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
