"""Images of more than 8 bits or other bands than colours: the right picture, or one line with the remedy."""

import re

import numpy as np
import pytest

from biformer_lit.data import ClassificationDataModule, DetectionDataModule, SegmentationDataModule
from biformer_lit.data.images.decoding import BadImageError, decode_image
from biformer_lit.data.images.rendering import Rendering
from biformer_lit.dense.masks import decode_mask
from biformer_lit.errors import ConfigError, DataError

from .tiffs import png16, tiff

HERE = "split 'train', row 3"
RNG = np.random.default_rng(0)
COLOUR = (60, 120, 40)


def pixels(content, **rendering):
    return np.asarray(decode_image({"bytes": content, "path": None}, HERE, Rendering(**rendering)))


def refusal(content, **rendering):
    with pytest.raises(DataError) as caught:
        pixels(content, **rendering)
    assert str(caught.value).startswith(f"{HERE}: the image ")
    assert "\n" not in str(caught.value)
    return caught.value


def needs_tifffile():
    pytest.importorskip("tifffile", reason="tifffile is not installed")


def needs_imagecodecs():
    needs_tifffile()
    pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")


def four_bands(fourth=30, dtype=np.uint8):
    return np.full((6, 8, 4), (*COLOUR, fourth), dtype)


@pytest.mark.parametrize("extra", [None, (0,), (1,), (2,)])
@pytest.mark.parametrize("planar", [False, True])
def test_near_infrared_is_not_alpha(extra, planar):
    if planar and extra == (1,):
        needs_tifffile()
    content = tiff(four_bands(), 2, extra, planar)
    error = refusal(content)
    assert not isinstance(error, BadImageError)  # on_bad_image: skip would leave out the whole set
    assert "is an 8-bit 4-band TIFF, wh" in str(error)
    assert "data.init_args.bands: [1, 2, 3]" in str(error)


@pytest.mark.parametrize("photometric", [1, 2])
@pytest.mark.parametrize("planar", [False, True])
def test_declared_bands_of_a_tiff(photometric, planar):
    needs_tifffile()
    content = tiff(four_bands(), photometric, (0,) * (3 if photometric == 1 else 1), planar)
    assert pixels(content, bands=(1, 2, 3))[2, 3].tolist() == [*COLOUR]
    assert pixels(content, bands=(4, 1, 2))[2, 3].tolist() == [30, 60, 120]
    assert pixels(content, bands=(4,))[2, 3].tolist() == [30, 30, 30]
    assert "names band 5" in str(refusal(content, bands=(1, 2, 5)))


def test_alpha_of_a_tiff():
    values = four_bands(255)
    values[:, :4, 3] = 0
    values[0, 6, 3] = 51
    half = tiff(values, 2, (2,))
    assert pixels(half)[1, 1].tolist() == [255] * 3
    assert pixels(half)[1, 5].tolist() == [*COLOUR]
    assert pixels(half)[0, 6].tolist() == [216, 228, 212]
    multiplied = values.copy()
    multiplied[:, :4, :3], multiplied[0, 6, :3] = 0, (12, 24, 8)
    np.testing.assert_allclose(pixels(tiff(multiplied, 2, (1,))), pixels(half), atol=1)


def test_alpha_of_a_tiff_read_by_values():
    needs_tifffile()
    values = four_bands(65535, np.uint16) * np.array([10, 10, 10, 1], np.uint16)
    values[:, :4, 3] = 0
    read = pixels(tiff(values, 2, (2,)), value_range=(0, 2550))
    assert read[1, 1].tolist() == [255] * 3
    assert read[1, 5].tolist() == [*COLOUR]


@pytest.mark.parametrize("bands", [2, 5, 13])
def test_other_numbers_of_bands_are_named(bands):
    assert f"is a 16-bit {bands}-band TIFF" in str(
        refusal(tiff(np.ones((4, 4, bands), np.uint16), 1, (0,) * (bands - 1)))
    )


def test_bands_of_other_images():
    colours = np.full((2, 2, 3), COLOUR, np.uint8)
    assert np.asarray(decode_image(colours, HERE, Rendering(bands=(3, 2, 1))))[0, 0].tolist() == [*COLOUR[::-1]]
    with pytest.raises(DataError, match=r"4-band array of uint8, .* data\.init_args\.bands: \[1, 2, 3\]"):
        decode_image(four_bands(), HERE)
    assert np.asarray(decode_image(four_bands(), HERE, Rendering(bands=(1, 2, 3))))[0, 0].tolist() == [*COLOUR]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_planes_of_16_bits(order, deflate):
    needs_imagecodecs() if deflate else needs_tifffile()
    values = RNG.integers(0, 65536, (16, 20, 3)).astype(np.uint16)
    content = tiff(values, 2, planar=True, order=order, deflate=deflate)
    np.testing.assert_array_equal(pixels(content), np.rint(values / 257).astype(np.uint8))


def test_planes_of_16_bits_without_a_reader(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    content = tiff(RNG.integers(0, 65536, (16, 20, 3)).astype(np.uint16), 2, planar=True)
    error = refusal(content)
    assert isinstance(error, BadImageError)
    assert 'a 16-bit 3-band TIFF, which Pillow cannot read: tifffile can; pip install "biformer_lit[tiff]"' in str(
        error
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("deflate", [False, True])
def test_every_kind_of_number(order, dtype, deflate):
    needs_imagecodecs()
    values = np.linspace(-100 if dtype[0] != "u" else 0, 100, 8 * 30).reshape(8, 30).astype(dtype)
    content = tiff(values, order=order, deflate=deflate)
    low = -100.0 if dtype[0] != "u" else 0.0
    expected = np.rint((values.astype(float) - low) * 255 / (100 - low))
    np.testing.assert_array_equal(pixels(content, value_range=(low, 100))[:, :, 1], expected)
    assert "nothing says which value is white; set data.init_args.value_range" in str(refusal(content))
    if dtype[0] != "f":
        np.testing.assert_array_equal(decode_mask({"bytes": content, "path": None}, HERE), values.astype(np.int64))


@pytest.mark.parametrize("top", [1.0, 1.01])
def test_fractions_need_a_declared_range(top):
    values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
    error = str(refusal(tiff(values)))
    assert f"32-bit floating-point TIFF with values 0..{top:g}, " in error
    assert ("for instance [0, 1]" in error) is (top == 1.0)
    assert pixels(tiff(values), value_range=(0, 1))[-1, -1, 0] == 255
    np.testing.assert_allclose(pixels(tiff(values), value_range=(0, 2))[:, :, 0], values * 127.5, atol=0.51)


def test_white_is_0():
    needs_tifffile()
    values = np.array([[0, 65535, 25700]], np.uint16)
    assert pixels(tiff(values, 0))[0, :, 0].tolist() == [255, 0, 155]
    assert pixels(tiff((values >> 8).astype(np.uint8), 0))[0, :, 0].tolist() == [255, 0, 155]


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_orientation_of_values(orientation):
    needs_tifffile()
    values = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    by_pillow = pixels(tiff(values, 2, orientation=orientation)).astype(int)
    np.testing.assert_allclose(pixels(tiff(values, 2, planar=True, orientation=orientation)), by_pillow, atol=1)
    grey = values[:, :, 0]
    np.testing.assert_array_equal(
        decode_mask({"bytes": tiff(grey.astype(np.uint32), orientation=orientation), "path": None}, HERE),
        decode_mask({"bytes": tiff(grey, orientation=orientation), "path": None}, HERE),
    )


def test_twelve_bits_that_the_file_names():
    values = np.array([[0, 16, 2048, 4095]] * 2, np.uint16)
    assert pixels(tiff(values, bits=12))[0, :, 0].tolist() == [0, 1, 128, 255]


DARK = np.linspace(0, 3000, 64).astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("make", ["png", "tiff", "array"])
def test_twelve_bits_in_sixteen(bands, make):
    values = np.stack([DARK] * bands, -1)
    if make == "array":
        content, read = (
            values,
            lambda content, **rendering: np.asarray(decode_image(content, HERE, Rendering(**rendering))),
        )
    elif make == "tiff":
        if bands == 3:
            needs_tifffile()
        content, read = tiff(values, 1 if bands == 1 else 2), pixels
    else:
        content, read = png16(values) if bands == 3 else _grey_png(DARK), pixels
    with pytest.raises(
        DataError, match=r"would be nearly black .*value_range .* instance \[0, 4095\], or to \[0, 65535\]"
    ):
        read(content)
    assert len(np.unique(read(content, value_range=(0, 3000)))) == len(np.unique(np.rint(DARK * 255.0 / 3000)))
    np.testing.assert_array_equal(read(content, value_range=(0, 4095))[:, :, -1], np.rint(DARK * 255.0 / 4095))
    assert read(content, value_range=(0, 65535)).max() == 12


def _grey_png(values):
    from io import BytesIO  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    Image.fromarray(values).save(buffer := BytesIO(), "PNG")
    return buffer.getvalue()


def test_sixteen_bits_that_are_used_or_black_everywhere():
    assert pixels(_grey_png(np.zeros((4, 4), np.uint16))).max() == 0
    assert pixels(png16(np.zeros((4, 4, 3), np.uint16))).max() == 0
    values = RNG.integers(0, 65536, (9, 9, 4)).astype(np.uint16)
    values[:, :, 3] = 65535
    np.testing.assert_array_equal(pixels(png16(values)), values[:, :, :3] >> 8)
    np.testing.assert_array_equal(pixels(png16(values), value_range=(0, 65535)), np.rint(values[:, :, :3] / 257))


def test_a_declared_range_that_belongs_to_other_images():
    eight = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    assert "does not apply" in str(refusal(tiff(eight), value_range=(0, 4095)))
    assert "does not apply" in str(refusal(_grey_png(DARK + 5000), value_range=(0, 1)))
    assert "does not apply" in str(refusal(_grey_png(DARK + 5000), value_range=(0, 4095)))
    assert "says itself what is white" in str(
        refusal(b"P5\n2 1\n4095\n" + bytes([0, 1, 15, 255]), value_range=(0, 4095))
    )
    assert pixels(b"P5\n2 1\n4095\n" + bytes([0, 1, 15, 255]))[0, :, 0].tolist() == [0, 255]
    stretched = pixels(tiff(eight), value_range=(55, 155))[:, :, 2]
    np.testing.assert_allclose(stretched, np.clip((eight - 55.0) * 2.55, 0, 255), atol=0.51)


@pytest.mark.parametrize("photometric", [8, 32803, 34892])
def test_colours_that_are_not_read(photometric):
    values = np.full((4, 4, 3), 99, np.uint16)
    assert re.search(r"16-bit 3-band TIFF", str(refusal(tiff(values, photometric))))


def test_a_file_that_claims_gigabytes():
    content = tiff(np.zeros((4, 4, 3), np.uint16), 2, planar=True)
    huge = content.replace((4).to_bytes(4, "little"), (70_000).to_bytes(4, "little"))
    assert "above the limit of 89,478,485" in str(refusal(huge))
    many = tiff(np.zeros((1, 1, 400), np.float64), 1, (0,) * 399).replace(
        b"\x00\x01\x04\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x01\x04\x00\x01\x00\x00\x00\x01",
        b"\x00\x01\x04\x00\x01\x00\x00\x00\x00\x20\x00\x00\x01\x01\x04\x00\x01\x00\x00\x00\x00\x20",
    )
    assert len(str(refusal(many, bands=(1, 2, 3)))) < 400


def test_inverted_masks_are_refused():
    with pytest.raises(DataError, match="the mask is a TIFF in which 0 is white"):
        decode_mask({"bytes": tiff(np.ones((4, 4), np.uint8), 0), "path": None}, HERE)


@pytest.mark.parametrize("module", [ClassificationDataModule, SegmentationDataModule, DetectionDataModule])
def test_settings_of_every_data_module(module):
    assert module(value_range=[0, 4095], bands=[1, 2, 3]).rendering == Rendering((0, 4095), (1, 2, 3))
    for name, value in (("value_range", (1, 1)), ("value_range", (0,)), ("value_range", (0, float("nan")))):
        with pytest.raises(ConfigError, match=rf"^data\.init_args\.{name}: .* two finite numbers"):
            module(**{name: value})
    for value in ((1, 2), (0, 1, 2), ()):
        with pytest.raises(ConfigError, match=r"^data\.init_args\.bands: .* counted from 1"):
            module(bands=value)


def test_a_declared_range_reaches_the_batches(write):
    import datasets  # noqa: PLC0415

    rows = {"image": [{"bytes": _grey_png(DARK), "path": None}] * 4, "label": [0, 1, 0, 1]}
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    folder = write(train=table, validation=table)
    settings = {"dataset": folder, "image_size": 8, "crop_pct": 1.0, "batch_size": 2, "num_workers": 0}
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    (data := ClassificationDataModule(**settings, **plain, value_range=(0, 3000))).setup("validate")
    assert next(iter(data.val_dataloader()))["image"].max() == 1.0
    (data := ClassificationDataModule(**settings, on_bad_image="skip")).setup("validate")
    with pytest.raises(DataError, match=r"row 0: the image is a 16-bit PNG image, but its values 0\.\.3000 would"):
        next(iter(data.val_dataloader()))
