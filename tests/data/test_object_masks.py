from itertools import groupby

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from biformer_lit.detection.boxes import Repairs
from biformer_lit.detection.object_masks import decode_object_mask, stray_polygons
from biformer_lit.errors import DataError

from .objects import HEIGHT, WIDTH, boxes_of, module, objects_of, samples, table
from .test_classification import epoch_of
from .test_segmentation import stored

NAN = float("nan")


def run_lengths(mask):
    values = mask.T.ravel()
    lengths = [len(list(run)) for _, run in groupby(values)]
    return [0, *lengths] if values[0] else lengths


def triangles(row):
    """Polygons of objects, two for the first of them."""
    first, *others = ([[left, top, right, top + 2, left + 1.5, bottom]] for left, top, right, bottom in boxes_of(row))
    return [[*first, [1, 1, 9.5, 1, 9.5, 6, 1, 6]], *others]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", ["polygons", "runs", "uncompressed", "pictures"])
def test_kinds_of_masks_say_the_same(write, kind, listed):
    rows, expected = [], []
    for row in range(3):
        runs = [coco.merge(coco.frPyObjects(polygons, HEIGHT, WIDTH)) for polygons in triangles(row)]
        pixels = [coco.decode(run) for run in runs]
        masks = {
            "polygons": triangles(row),
            "runs": [{"counts": run["counts"].decode(), "size": run["size"]} for run in runs],
            "uncompressed": [{"counts": run_lengths(mask), "size": [HEIGHT, WIDTH]} for mask in pixels],
            "pictures": [stored(Image.fromarray(mask * 200)) for mask in pixels],
        }[kind]
        rows.append({**objects_of(row), "segmentation": masks})
        expected.append(np.stack(pixels))
    made = table(rows, listed=listed, **{kind: "segmentation"})
    data = module(write(train=made, validation=made), masks=True)
    for batches in (data.val_dataloader(), epoch_of(data)):
        for index, _, objects in samples(batches):
            assert objects["masks"].dtype == torch.uint8
            np.testing.assert_array_equal(objects["masks"], expected[index])
    for index, _, objects in samples(data.val_dataloader()):
        assert objects["area"].tolist() == expected[index].sum((1, 2)).tolist()
    assert "masks" not in next(iter(module(data.dataset).val_dataloader()))["objects"][0]


def test_pictures_of_masks_are_not_decoded_with_the_row(write):
    made = table([{**objects_of(0), "mask": [{"bytes": b"broken", "path": None}] * 3}] * 2, pictures="mask")
    folder = write(train=made, validation=made)
    for listed in (False, True):
        data = module(folder, streaming=listed)
        assert all(len(objects["labels"]) == 3 for _, _, objects in samples(data.val_dataloader()))
    with pytest.raises(DataError, match=r"^split 'validation', row 0, object 0: the mask cannot be read .*skip$"):
        list(module(folder, masks=True).val_dataloader())
    data = module(folder, masks=True, on_bad_image="skip")
    with pytest.raises(DataError, match="without any image to evaluate"):
        list(data.val_dataloader())
    assert data.skipped["validation"].rows == {0, 1}


MASKS = [
    # a mask and the message about it
    (
        "nan",
        [[1, 1, 9, 1, 9, NAN]],
        r"a polygon is not a flat list of finite numbers x, y, .*; correct the mask or data",
    ),
    ("deep", [[[[1, 1], [9, 1], [9, 9]]]], r"a polygon is not a flat list of finite numbers x, y, x, y, \.\.\.; corre"),
    ("far", [[1, 1, 9e9, 1, 9, 9]], r"a polygon reaches 9e\+09 pixels; correct or remove it"),
    ("missing", None, r"the mask is missing; add it, remove the object, or set data\.init_args\.masks: false"),
    (
        "other",
        {"x": [1, 2], "y": [1, 2]},
        r"the mask is a struct of x, y, but must be polygons, run lengths or a pictu",
    ),
    (
        "size",
        {"counts": [0, 20], "size": [4, 5]},
        r"the mask has 5x4 pixels, but its image has 8x6 .*; make them alike",
    ),
    ("no-size", {"counts": [0, 48]}, r"the run lengths of the mask come with the size None, not height and width"),
    ("no-counts", {"counts": None, "size": [6, 8]}, r"the mask is missing; add it, remove the object, or set"),
    (
        "few",
        {"counts": [0, 20], "size": [6, 8]},
        r"the run lengths .* damaged: they do not add up to its 8x6 pixels; c",
    ),
    (
        "negative",
        {"counts": [50, -2], "size": [6, 8]},
        r"the run lengths .* damaged: they do not add up to its 8x6 pixe",
    ),
    (
        "text",
        {"counts": "garbage!", "size": [6, 8]},
        r"the run lengths .* damaged: they do not add up to its 8x6 pixels",
    ),
    (
        "empty",
        {"counts": "", "size": [6, 8]},
        r"the run lengths of the mask are damaged: they do not add up to its 8x6",
    ),
    ("picture", stored(Image.new("L", (6, 8))), r"the mask has 6x8 pixels, but its image has 8x6 .*; make them alike"),
    (
        "colour",
        stored(Image.new("RGB", (8, 6))),
        r"the mask has mode RGB, but its pixels must be numbers of classes; st",
    ),
    ("truncated", {"bytes": b"broken", "path": None}, r"the mask cannot be read \(not an image.*on_bad_image: skip"),
]


@pytest.mark.parametrize(("mask", "message"), [pytest.param(*row[1:], id=row[0]) for row in MASKS])
def test_bad_masks_give_one_clear_line(mask, message):
    with pytest.raises(DataError, match=rf"^row 1, object 2: {message}"):
        decode_object_mask(mask, (6, 8), False, "row 1, object 2")


GOOD = [1, 1, 6, 1, 6, 5]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
@pytest.mark.parametrize(
    ("polygons", "stray"),
    [
        ([[1, 1, 6, 1]], 1),  # two points
        ([GOOD, [3, 3]], 1),  # a point
        ([[3, 3], GOOD, []], 2),
        ([[*GOOD, 2]], 1),  # half a point
        (GOOD[:4], 1),
        (GOOD, 0),
        ([[1, 1], [6, 1], [6, 5]], 0),  # points as pairs
        ([[[1, 1], [6, 1], [6, 5]]], 0),
        ([[[1, 1], [6, 1], [6, 5]], [[3, 3]]], 1),
        ([], 0),
    ],
)
def test_what_is_no_polygon_is_left_out_and_counted(polygons, stray):
    assert stray_polygons(polygons) == stray
    pixels = decode_object_mask(polygons, (6, 8), False, "here").numpy()
    good = "6, 5" in str(polygons) and "5, 2" not in str(polygons)
    expected = coco.decode(coco.frPyObjects([GOOD], 6, 8))[:, :, 0] if good else np.zeros((6, 8))
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("listed", [False, True])
def test_stray_polygons_end_no_run(write, on_bad_image, listed):
    left, top, right, bottom = boxes_of(0)[0].tolist()
    square = [left, top, right, top, right, bottom, left, bottom]
    polygons = [[square, [left, top]], [[left, top, right, bottom]], [square]]
    row = {"bbox": [objects_of(0)["bbox"][0]] * 3, "category": [0, 1, 2], "segmentation": polygons}
    made = table([row, {**row, "segmentation": [[square]] * 3}], polygons="segmentation", listed=listed)
    data = module(write(train=made, validation=made), masks=True, on_bad_image=on_bad_image)
    for batches in (data.val_dataloader(), epoch_of(data)):
        found = {index: objects for index, _, objects in samples(batches)}
        assert [len(found[index]["labels"]) for index in (0, 1)] == [2, 3]
        assert found[0]["labels"].tolist() == [0, 2]
        assert found[0]["masks"].sum() == found[1]["masks"].sum() * 2 / 3 > 0
    assert data.repairs == {split: Repairs(small=1, polygons=2) for split in ("train", "validation")}


def test_polygons_as_fractions():
    pixels = decode_object_mask([[3, 1, 6, 1, 6, 5, 3, 5]], (6, 8), False, "here")
    fractions = [3 / 8, 1 / 6, 6 / 8, 1 / 6, 6 / 8, 5 / 6, 3 / 8, 5 / 6]
    assert torch.equal(decode_object_mask(fractions, (6, 8), True, "here"), pixels)
    assert decode_object_mask([], (6, 8), False, "here").sum() == 0
    with pytest.raises(DataError, match=r"here: a polygon holds 3, which is no fraction of the image size; set data"):
        decode_object_mask([[0.5, 0.5, 3, 0.5, 0.5, 1]], (6, 8), True, "here")
