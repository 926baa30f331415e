"""Images that EXIF turns, with objects in pixels of the stored or of the upright image."""

import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from biformer_lit.data.images.headers import read_header
from biformer_lit.data.images.orientation import TURNS, turn_of
from biformer_lit.dense.masks import LabelRange
from biformer_lit.detection.boxes import Repairs
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.segmentation.mask_augmentation import EvalPair
from biformer_lit.segmentation.segmentation_data import ReadSegmented

from .objects import HEIGHT, WIDTH, blocks, boxes_of, module, samples, table, telling
from .test_classification import epoch_of
from .test_segmentation import stored

Method = Image.Transpose
BACK = {  # what undoes the orientation
    1: None, 2: Method.FLIP_LEFT_RIGHT, 3: Method.ROTATE_180, 4: Method.FLIP_TOP_BOTTOM, 5: Method.TRANSPOSE,
    6: Method.ROTATE_90, 7: Method.TRANSVERSE, 8: Method.ROTATE_270,
}  # fmt: skip
SIDEWAYS = (5, 6, 7, 8)


def turned_back(pixels, orientation):
    """What is stored for upright pixels."""
    image = Image.fromarray(np.asarray(pixels))
    return image if orientation == 1 else image.transpose(BACK[orientation])


def as_stored(boxes, orientation, height=HEIGHT, width=WIDTH):
    """Boxes and masks in the stored image, found in its pixels."""
    found = []
    for mask in blocks(boxes, height, width):
        pixels = np.asarray(turned_back(mask.astype(np.uint8), orientation))
        rows, columns = pixels.any(1).nonzero()[0], pixels.any(0).nonzero()[0]
        found.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, pixels))
    return np.array([row[:4] for row in found], float), [row[4] for row in found]


def photo(row, orientation, kind="PNG", height=HEIGHT, width=WIDTH):
    upright = np.asarray(
        Image.open(io.BytesIO(telling(boxes_of(row, 3, height, width), range(3), height, width)["bytes"]))
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored(turned_back(upright, orientation), kind, exif=exif)


def far(row, height=HEIGHT, width=WIDTH):
    """Upright boxes that reach all corners, so that they leave the image of the other orientation."""
    own = boxes_of(row, 1, height, width)
    return np.vstack([own, [[0, 0, 6, 8], [width - 7, height - 6, width, height]]]).astype(float)


def xywh(boxes):
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).tolist()


def turned(write, orientation, boxes=far, sizes=None, mask=None, in_stored=True, rows=3, **changes):
    """A set of images in one orientation whose objects are in stored pixels."""
    objects, height, width = [], changes.pop("height", HEIGHT), changes.pop("width", WIDTH)
    images = [photo(row, orientation, height=height, width=width) for row in range(rows)]
    for row in range(rows):
        upright = boxes(row, 3, height, width) if boxes is boxes_of else boxes(row, height, width)
        own, masks = as_stored(upright, orientation if in_stored else 1, height, width)
        made = {"bbox": xywh(own), "category": [0, 1, 2]}
        if mask:
            made["segmentation"] = [MASKS[mask](pixels) for pixels in masks]
        objects.append(made)
    made = table(objects, images, **({mask: "segmentation"} if mask else {}))
    if sizes:
        columns = {"height": [sizes[0]] * rows, "width": [sizes[1]] * rows}
        for name, values in columns.items():
            made = made.add_column(name, values)
    return module(write(train=made, validation=made), masks=bool(mask), **changes)


def _runs(pixels):
    encoded = coco.encode(np.asfortranarray(pixels))
    return {"counts": encoded["counts"].decode(), "size": encoded["size"]}


def _polygons(pixels):
    rows, columns = pixels.any(1).nonzero()[0], pixels.any(0).nonzero()[0]
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return [[float(x) for x in (left, top, right, top, right, bottom, left, bottom)]]


MASKS = {"runs": _runs, "polygons": _polygons, "pictures": lambda pixels: stored(Image.fromarray(pixels * 200))}


def require_on_objects(data, boxes=far):
    """Boxes, and masks if there are some, lie where they are in the upright image."""
    loaders = [data.val_dataloader()] if data.streaming else [data.val_dataloader(), epoch_of(data)]
    for batches in loaders:
        for index, image, objects in samples(batches):
            height, width = image.shape[1:]
            expected = boxes(index, 3, height, width) if boxes is boxes_of else boxes(index, height, width)
            np.testing.assert_array_equal(objects["boxes"], expected)
            if "masks" in objects:
                np.testing.assert_array_equal(objects["masks"], blocks(expected, height, width))


@pytest.mark.parametrize("orientation", TURNS)
def test_boxes_and_pixels_come_upright_as_the_image_does(orientation):
    boxes = far(3)
    own, masks = as_stored(boxes, orientation)
    turn = turn_of(orientation)
    size = masks[0].shape
    assert turn.stored_size((HEIGHT, WIDTH)) == size
    assert turn.boxes(torch.from_numpy(own), size).tolist() == boxes.tolist()
    for mask, expected in zip(masks, blocks(boxes), strict=True):
        np.testing.assert_array_equal(turn.pixels(mask), expected)
    thin = torch.tensor([[9.0, 4.0, 5.0, 8.0]])  # right before left
    assert (turn.boxes(thin, size)[0, 2:] < turn.boxes(thin, size)[0, :2]).sum() == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_headers_tell_size_and_orientation(kind, orientation, tmp_path):
    value = photo(0, orientation, kind)
    assert read_header(value) == ((HEIGHT, WIDTH), orientation)
    (tmp_path / "a").write_bytes(value["bytes"])
    assert read_header({"bytes": None, "path": str(tmp_path / "a")}) == ((HEIGHT, WIDTH), orientation)
    assert read_header({"bytes": value["bytes"][:9], "path": None}) is None
    assert read_header({"bytes": None, "path": "/dev/zero"}) is None


@pytest.mark.parametrize("orientation", [1, *SIDEWAYS])
def test_boxes_that_leave_the_turned_image_are_turned_along(write, orientation):
    data = turned(write, orientation, sizes=None)
    require_on_objects(data)
    assert data.repairs["validation"] == Repairs(turned=9 * (orientation in SIDEWAYS))


@pytest.mark.parametrize("in_stored", [True, False])
@pytest.mark.parametrize("orientation", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 7, 8))])
def test_stored_height_and_width_decide(write, orientation, in_stored):
    size = (WIDTH, HEIGHT) if in_stored else (HEIGHT, WIDTH)
    data = turned(write, orientation, boxes_of, size, in_stored=in_stored)
    require_on_objects(data, boxes_of)
    assert data.repairs["validation"] == Repairs(turned=9 * in_stored)


@pytest.mark.parametrize("mask", ["runs", "pictures", "polygons"])
@pytest.mark.parametrize(
    "orientation", [3, 6, *(pytest.param(n, marks=pytest.mark.slow) for n in TURNS if n not in (3, 6))]
)
def test_masks_of_every_kind_are_turned_along(write, orientation, mask):
    boxes = far if mask == "polygons" else boxes_of  # polygons have no size that would tell
    data = turned(write, orientation, boxes, mask=mask, box_orientation="auto" if orientation in SIDEWAYS else "stored")
    require_on_objects(data, boxes)
    assert data.repairs["validation"] == Repairs(turned=9 * (orientation != 1))


@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_masks_go_by_their_own_size_where_boxes_are_upright(write, orientation):
    masks = [_runs(mask) for mask in as_stored(boxes_of(0), orientation)[1]]
    row = {"bbox": xywh(boxes_of(0)), "category": [0, 1, 2], "segmentation": masks}
    made = table([row], [photo(0, orientation)], runs="segmentation")
    made = made.add_column("height", [HEIGHT]).add_column("width", [WIDTH])
    data = module(write(train=made, validation=made), masks=True, batch_size=1)
    require_on_objects(data, boxes_of)
    assert data.repairs["validation"] == Repairs()


@pytest.mark.parametrize("orientation", [3, 6, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))])
def test_rows_that_show_nothing_go_by_the_others(write, orientation):
    """Images upside down, mirrored, or square have the same size either way."""
    square = orientation == 6
    height, width = (HEIGHT, HEIGHT) if square else (HEIGHT, WIDTH)
    alone = turned(write, orientation, boxes_of, height=height, width=width)
    assert alone.repairs["validation"].turned == 0
    objects, images = [], []
    for row, (how, size) in enumerate([(orientation, (height, width)), (6, (HEIGHT, WIDTH)), (1, (HEIGHT, WIDTH))]):
        images.append(photo(row, how, height=size[0], width=size[1]))
        boxes = boxes_of(row, 3, *size) if row == 0 else far(row, *size)
        objects.append({"bbox": xywh(as_stored(boxes, how, *size)[0]), "category": [0, 1, 2]})
    made = table(objects, images)
    data = module(write(train=made, validation=made))
    found = {index: objects["boxes"] for index, _, objects in samples(data.val_dataloader())}
    np.testing.assert_array_equal(found[0], boxes_of(0, 3, height, width))
    np.testing.assert_array_equal(found[1], far(1))
    np.testing.assert_array_equal(found[2], far(2))
    assert data.repairs["validation"] == Repairs(turned=6)
    upright = module(data.dataset, box_orientation="upright")
    (_, _, first), *_ = samples(upright.val_dataloader())
    np.testing.assert_array_equal(
        first["boxes"], as_stored(boxes_of(0, 3, height, width), orientation, height, width)[0]
    )


def test_fractions_are_turned_along(write):
    upright = far(0)
    own = as_stored(upright, 6)[0] / ([HEIGHT, WIDTH] * 2)
    row = {"bbox": xywh(own), "category": [0, 1, 2]}
    made = table([row] * 2, [photo(0, 6)] * 2).add_column("height", [WIDTH] * 2).add_column("width", [HEIGHT] * 2)
    data = module(write(train=made, validation=made), normalised=True)
    for _, _, objects in samples(data.val_dataloader()):
        np.testing.assert_allclose(objects["boxes"], upright, atol=1e-5)


@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_label_maps_of_the_other_orientation_are_turned_along(orientation):
    """A label map has the size of the image that it was drawn on."""
    rng = np.random.default_rng(0)
    upright = rng.integers(0, 3, (HEIGHT, WIDTH)).astype(np.uint8)
    labels = LabelRange(3, 255, False)
    read = ReadSegmented("image", "mask", labels, 255, EvalPair(None, (0.0,) * 3, (1.0,) * 3), True)
    for mask in (turned_back(upright, orientation), Image.fromarray(upright)):
        sample = read({"image": photo(0, orientation), "mask": stored(mask)}, "row 0")
        np.testing.assert_array_equal(sample["mask"], upright)
    with pytest.raises(DataError, match="row 0: the mask has 5x5 pixels"):
        read({"image": photo(0, orientation), "mask": stored(Image.new("L", (5, 5)))}, "row 0")


def test_streams_go_by_the_row(write):
    data = turned(write, 6)
    require_on_objects(module(data.dataset, streaming=True))


def test_it_is_told(write, caplog):
    with caplog.at_level(logging.WARNING):
        list(turned(write, 8).val_dataloader())
    assert "9 turned with their image, whose EXIF orientation their boxes leave out (rows 0, 1, 2)" in caplog.text
    with pytest.raises(ConfigError, match=r"box_orientation: 'up' must be auto, upright or stored"):
        module("x", box_orientation="up")
