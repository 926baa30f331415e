import io
import re

import numpy as np
import pytest
from PIL import Image

from biformer_lit.data.images.decoding import BadImageError, decode_image
from biformer_lit.errors import DataError

WHERE = "split 'train', row 17"


def stored(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def pixels(value):
    image = decode_image(value, WHERE)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_and_grey_are_kept():
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(pixels(stored(Image.fromarray(colours), "PNG")), colours)
    grey = np.array([[0, 100, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(pixels(stored(Image.fromarray(grey), "PNG")), np.stack([grey] * 3, axis=-1))


def test_one_bit():
    image = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    np.testing.assert_array_equal(pixels(stored(image, "PNG"))[0], [[0] * 3, [255] * 3])


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
    ],
)
def test_transparency_is_over_white(mode, pixel, expected):
    assert tuple(pixels(stored(Image.new(mode, (2, 2), pixel), "PNG"))[0, 0]) == expected


def test_premultiplied_alpha():
    image = Image.new("RGBA", (1, 1), (200, 100, 0, 255)).convert("RGBa")
    assert tuple(pixels(image)[0, 0]) == (200, 100, 0)


def palette():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    return image


def test_palette():
    assert pixels(stored(palette(), "PNG")).tolist() == [[[255, 0, 0], [0, 0, 255]]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_palette_with_transparency(transparency):
    value = stored(palette(), "PNG", transparency=transparency)
    assert pixels(value).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_grey_with_transparent_colour():
    image = Image.fromarray(np.array([[5, 80]], dtype=np.uint8))
    assert pixels(stored(image, "PNG", transparency=5))[0, :, 0].tolist() == [255, 80]


def test_cmyk_and_ycbcr():
    assert tuple(pixels(stored(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "TIFF"))[0, 0]) == (255, 0, 0)
    ycbcr = Image.new("RGB", (2, 2), (30, 200, 90)).convert("YCbCr")
    np.testing.assert_allclose(pixels(ycbcr)[0, 0].astype(int), (30, 200, 90), atol=2)
    jpeg = stored(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100)
    np.testing.assert_allclose(pixels(jpeg)[0, 0].astype(int), (0, 255, 255), atol=4)


LEVELS, EIGHT_BIT = [0, 128, 257, 25700, 65535], [0, 0, 1, 100, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_is_scaled_not_clipped(kind):
    value = stored(Image.fromarray(np.array([LEVELS], dtype=np.uint16)), kind)
    assert pixels(value)[0, :, 0].tolist() == EIGHT_BIT


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_16_bit_in_every_byte_order(dtype):
    array = np.array([LEVELS], dtype=dtype)
    assert pixels(array)[0, :, 2].tolist() == EIGHT_BIT
    assert pixels(Image.fromarray(array))[0, :, 1].tolist() == EIGHT_BIT


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3)])
def test_arrays(shape):
    array = np.full(shape, 255, dtype=np.uint8)
    array[0, 0] = 7
    result = pixels(array)
    assert result.shape == (2, 3, 3)
    assert result[0, 0].tolist() == [7, 7, 7]


def test_path_and_bytes(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    for value in ({"bytes": None, "path": str(path)}, path.read_bytes(), Image.open(path)):
        assert tuple(pixels(value)[0, 0]) == (1, 2, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[0, :, 0], upright[:, 0, 1] = 200, 90
    # how a camera stores an upright scene under each value (EXIF 2.3, table 6: place of row 0 and column 0)
    store = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    value = stored(Image.fromarray(np.ascontiguousarray(store(upright))), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(value), upright)


def jpeg(size=64):
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return stored(Image.fromarray(noise), "JPEG")["bytes"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"bytes": jpeg()[:1500], "path": None}, "truncated"),
        ({"bytes": b"hello, I am text", "path": None}, "not an image"),
        ({"bytes": b"", "path": None}, "zero bytes"),
        ({"bytes": None, "path": None}, "no image"),
        ({"bytes": None, "path": "/nowhere/a.png"}, "No such file"),
        (None, "no image"),
        (12, "got int"),
        (np.full((1, 1), np.nan, dtype=np.float32), "not finite"),
        (np.zeros((2, 2, 2, 2), dtype=np.uint8), "an array of shape (2, 2, 2, 2)"),
        (np.zeros((0, 2), dtype=np.uint8), "an array of shape (0, 2)"),
    ],
)
def test_bad_images(value, reason):
    with pytest.raises(BadImageError, match=re.escape(reason)) as caught:
        decode_image(value, WHERE)
    message = str(caught.value)
    assert isinstance(caught.value, DataError)
    assert message.startswith(WHERE + ": ")
    assert "on_bad_image: skip" in message
    assert "\n" not in message


def test_values_beyond_16_bits():
    with pytest.raises(
        DataError, match=r"values 70000\.\.70000, and nothing says which value is white; set data\.init"
    ):
        decode_image(np.full((1, 1), 70_000, dtype=np.int32), WHERE)


def test_damaged_png():
    content = bytearray(stored(Image.fromarray(np.frombuffer(jpeg()[:3000], np.uint8).reshape(50, 60)), "PNG")["bytes"])
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(BadImageError, match="row 17"):
        decode_image(bytes(content), WHERE)


@pytest.mark.parametrize("limit", [10, 20])  # Pillow warns from the limit on, and refuses from twice the limit on
def test_decompression_bomb(monkeypatch, limit):
    value = stored(Image.new("L", (5, 6)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(BadImageError, match="decompression bomb"):
        decode_image(value, WHERE)
