"""Images of strangers: each is an image, or one clear error."""

import contextlib
import io

import numpy as np
import pytest
from fuzzing import damaged, fuzz, one_line
from PIL import Image

from biformer_lit.data.images import decoding as images
from biformer_lit.data.images.decoding import FORMATS, decode_image
from biformer_lit.dense.masks import decode_mask
from biformer_lit.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (12, 9, 4), np.uint8)


def file_of(mode, kind, **options):
    buffer = io.BytesIO()
    deep = Image.fromarray(NOISE[..., 0] * np.uint16(257))
    (deep if mode == "I;16" else Image.fromarray(NOISE).convert("RGB").convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def whole_files():
    exif = Image.Exif()
    exif[0x0112] = 6
    others = {"transparency": 3} | {"exif": exif}
    found = [file_of("P", "PNG", **others), file_of("RGB", "JPEG", exif=exif, icc_profile=b"x" * 40)]
    found += [file_of("RGB", "TIFF", compression=one) for one in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")]
    found += [file_of("L", "TIFF", compression="packbits"), file_of("1", "TIFF", compression="group4")]
    found += [file_of("RGB", "JPEG", progressive=True), file_of("CMYK", "JPEG"), file_of("RGB", "WEBP", lossless=True)]
    frames = [Image.fromarray(NOISE[..., i]) for i in range(3)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        found.append(buffer.getvalue())
    for mode in ("L", "RGB", "RGBA", "P", "1", "I;16", "LA"):
        for kind in FORMATS:
            with contextlib.suppress(OSError, KeyError, ValueError):  # not every format has every mode
                found.append(file_of(mode, kind))
    return found


WHOLE = whole_files()


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Sizes that damaged headers claim must not take seconds to clear."""
    monkeypatch.setattr(images, "MOST_PIXELS", 1_000_000)


def test_they_are_whole():
    assert len(WHOLE) > 40
    assert {Image.open(io.BytesIO(one)).format for one in WHOLE} == set(FORMATS)
    assert all(decode_image(one, "here").size in {(9, 12), (12, 9)} for one in WHOLE)


@fuzz(60, content=damaged(WHOLE))
def test_a_damaged_image(content):
    try:
        image = decode_image({"bytes": content, "path": None}, "here")
    except DataError as error:
        one_line(error, "here: ")
    else:
        assert image.mode == "RGB"
        assert image.width * image.height <= 1_000_000


@fuzz(30, content=damaged(WHOLE))
def test_a_damaged_mask(content):
    try:
        mask = decode_mask({"bytes": content, "path": None}, "here")
    except DataError as error:
        one_line(error, "here: ")
    else:
        assert mask.dtype == np.int64
        assert mask.ndim == 2
