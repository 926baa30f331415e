"""Boxes and masks of strangers: sound boxes within the image, or one clear error."""

import torch
from fuzzing import NUMBERS, VALUES, fuzz, one_line
from hypothesis import strategies as st

from biformer_lit.data.labels import Classes
from biformer_lit.detection.object_masks import decode_object_mask
from biformer_lit.detection.object_reading import ObjectFields, ReadObjects
from biformer_lit.errors import DataError

FIELDS = ObjectFields("objects", "bbox", "category", "mask", "area", "iscrowd")
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
COORDINATES = st.lists(NUMBERS, max_size=10)
RUNS = st.fixed_dictionaries(
    {"counts": st.one_of(st.text(max_size=20), st.binary(max_size=20), st.lists(NUMBERS, max_size=6), VALUES)},
    optional={"size": st.one_of(SIZES.map(list), VALUES)},
)
MASKS = st.one_of(COORDINATES, st.lists(COORDINATES, max_size=3), RUNS, st.binary(max_size=30), VALUES)
BOXES = st.one_of(st.lists(st.floats(-5, 45), min_size=4, max_size=4), st.lists(NUMBERS, max_size=5), VALUES)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "bbox": BOXES,
        "category": st.one_of(st.integers(0, 2), st.sampled_from(["a", None, -1]), VALUES),
        "mask": MASKS,
        "area": st.one_of(st.floats(0, 100), VALUES),
        "iscrowd": st.one_of(st.integers(0, 1), VALUES),
    },
)


@fuzz(60, mask=MASKS, size=SIZES, normalised=st.booleans())
def test_a_mask(mask, size, normalised):
    try:
        pixels = decode_object_mask(mask, size, normalised, "here")
    except DataError as error:
        one_line(error, "here")
    else:
        assert pixels.shape == size
        assert int(pixels.max()) <= 1


def check_row(stored, size, box_format, normalised, masks):
    read = ReadObjects(FIELDS, Classes(["a", "b", "c"], [0, 1, "a"]), box_format, normalised, masks)
    try:
        objects, _ = read({"objects": stored}, size, "here")
    except DataError as error:
        one_line(error, "here")
        return
    if objects is None:
        return
    boxes = objects["boxes"]
    assert boxes.isfinite().all()
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([size[1], size[0]] * 2) + 1e-3).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
    assert objects["area"].isfinite().all()
    assert len({len(values) for values in objects.values()}) == 1


SETTINGS = {
    "size": SIZES,
    "box_format": st.sampled_from(["xywh", "xyxy", "cxcywh"]),
    "normalised": st.booleans(),
    "masks": st.booleans(),
}


@fuzz(80, objects=st.lists(OBJECTS, max_size=4), **SETTINGS)
def test_a_list_of_objects(objects, **rest):
    check_row(objects, **rest)


@fuzz(60, count=st.integers(0, 3), data=st.data(), **SETTINGS)
def test_a_struct_of_lists(count, data, **rest):
    def several(strategy):
        return data.draw(st.one_of(st.lists(strategy, min_size=count, max_size=count), VALUES))

    check_row(
        {
            "bbox": several(BOXES),
            "category": several(st.integers(0, 2)),
            "mask": several(MASKS),
            "area": several(NUMBERS),
            "iscrowd": several(st.integers(0, 1)),
        },
        **rest,
    )
