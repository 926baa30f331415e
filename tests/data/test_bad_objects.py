import logging

import datasets
import numpy as np
import pytest
from PIL import Image

from biformer_lit.data import DetectionAugmentation, DetectionDataModule, Scenes
from biformer_lit.detection.boxes import Repairs
from biformer_lit.errors import ConfigError, DataError

from .objects import HEIGHT, WIDTH, blocks, boxes_of, module, objects_of, samples, table
from .test_classification import epoch_of
from .test_segmentation import stored

NAN, INF = float("nan"), float("inf")
FLOAT, INTEGER = datasets.Value("float32"), datasets.Value("int64")
BAD = [
    # box as stored, what is left of it, and what is counted
    ([0, 0, WIDTH, HEIGHT], [0, 0, WIDTH, HEIGHT], Repairs()),
    ([-1, -1, WIDTH + 2, HEIGHT + 2], [0, 0, WIDTH, HEIGHT], Repairs()),  # as annotation tools do
    ([-1.5, 3, 10, 4], [0, 3, 8.5, 7], Repairs(clipped=1)),
    ([50, 30, 100, 100], [50, 30, WIDTH, HEIGHT], Repairs(clipped=1)),
    ([5, 5, 1, 1], [5, 5, 6, 6], Repairs()),
    ([5, 5, 0.9, 20], None, Repairs(small=1)),
    ([5, 5, 20, 0], None, Repairs(small=1)),
    ([15, 15, -10, 4], None, Repairs(small=1)),
    ([WIDTH, 5, 10, 10], None, Repairs(small=1)),
    ([WIDTH - 0.5, 5, 10, 10], None, Repairs(small=1)),
    ([-90, -90, 10, 10], None, Repairs(small=1)),
    ([WIDTH - 1, 5, 10, 10], [WIDTH - 1, 5, WIDTH, 15], Repairs(clipped=1)),
]


@pytest.mark.parametrize(("box", "left", "counted"), BAD)
def test_the_rule_on_bad_boxes(write, box, left, counted):
    good = objects_of(0, 1)
    made = table([{"bbox": [*good["bbox"], box], "category": [0, 2]}] * 2)
    data = module(write(train=made, validation=made))
    for batches in (data.val_dataloader(), epoch_of(data)):
        for _, _, objects in samples(batches):
            assert objects["boxes"].tolist() == [boxes_of(0, 1)[0].tolist()] + ([left] if left else [])
            assert objects["labels"].tolist() == [0] + ([2] if left else [])
    twice = Repairs(*(2 * count for count in counted))
    assert data.repairs == {"train": twice, "validation": twice}


def repaired(write):
    """Eight rows, and what is put right in each: 2 small, 1 duplicate, 1 clipped in every second."""
    box, other = [5, 5, 10, 10], [30, 20, 10, 10]
    bad = {"bbox": [box, [1, 1, 0, 5], box, other, [40, 20, 40, 10], [90, 0, 5, 5]], "category": [0, 1, 0, 0, 1, 2]}
    rows = [{"bbox": [box, box, other], "category": [0, 1, 0]}, bad] * 4
    return write(train=table(rows), validation=table(rows))


@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_counts_once(write, workers, caplog):
    data = module(repaired(write), num_workers=workers, augmentation=DetectionAugmentation(crop=True))
    with caplog.at_level(logging.WARNING):
        for epoch in (0, 1):
            epoch_of(data, epoch)
            list(data.val_dataloader())
    assert data.repairs == {"train": Repairs(8, 4, 4), "validation": Repairs(8, 4, 4)}
    assert data.skipped["train"].repairs == dict.fromkeys((1, 3, 5, 7), Repairs(2, 1, 1))
    assert [record.getMessage() for record in caplog.records] == [
        f"split {split!r}: objects with bad boxes: 8 dropped (under a pixel, outside the image, or with an empty "
        "mask), 4 dropped as exact duplicates, 4 clipped to the image (rows 1, 3, 5, 7)"
        for split in ("train", "validation")
    ]


def test_a_pass_that_is_left_counts_what_it_saw(write):
    data = module(repaired(write), eval_batch_size=1)
    batches = iter(data.val_dataloader())
    next(batches), next(batches)
    batches.close()
    assert data.repairs["validation"] == Repairs(2, 1, 1)
    list(data.val_dataloader())
    assert data.repairs["validation"] == Repairs(8, 4, 4)


def test_streams_count_too(write):
    data = module(repaired(write), streaming=True, num_workers=2)
    list(data.val_dataloader())
    assert data.repairs["validation"] == Repairs(8, 4, 4)


def test_masks_tell_duplicates_apart(write):
    box = [5, 5, 10, 10]
    one, other = blocks([[5, 5, 15, 15], [5, 5, 10, 15]])
    masks = [stored(Image.fromarray(mask)) for mask in (one, other, one, one & False)]
    made = table([{"bbox": [box] * 4, "category": [0] * 4, "mask": masks}] * 2, pictures="mask")
    folder = write(train=made, validation=made)
    data = module(folder, masks=True)
    (batch,) = data.val_dataloader()
    for objects in batch["objects"]:
        np.testing.assert_array_equal(objects["masks"], np.stack([one, other]))
    assert data.repairs["validation"] == Repairs(small=2, duplicates=2)
    data = module(folder)
    list(data.val_dataloader())
    assert data.repairs["validation"] == Repairs(duplicates=6)


def test_fractions_are_suggested(write, caplog):
    fractions = {"bbox": [[0.1, 0.1, 0.5, 0.5]], "category": [0]}
    made = table([fractions, fractions, objects_of(0)])
    data = module(write(train=made, validation=made))
    with caplog.at_level(logging.WARNING):
        list(data.val_dataloader())
    assert data.repairs["validation"] == Repairs(small=2, fractions=2)
    assert "the boxes of 2 lie within 0..1: if they are fractions" in caplog.text
    assert "set data.init_args.normalised: true (rows 0, 1)" in caplog.text


def good(**changes):
    return {**objects_of(0), **changes}


ROWS = [
    # the objects of row 1, arguments of the data module, and the message
    (
        "nan",
        good(bbox=[[1, 1, 5, 5], [1, 2, NAN, 4], [1, 1, 5, 5]]),
        {},
        r"row 1, object 1: the box .* is not finite; c",
    ),
    ("infinite", good(bbox=[[1, 1, 5, INF]] * 3), {}, r"row 1, object 0: the box \[1.*inf\] is not finite; correct or"),
    (
        "three-numbers",
        good(bbox=[[1, 1, 5, 5], [1, 2, 3], [1, 1, 5, 5]]),
        {},
        r"object 1: .* \[1.0, 2.0, 3.0\] must be f",
    ),
    (
        "no-box",
        good(bbox=[[1, 1, 5, 5], None, [1, 1, 5, 5]]),
        {},
        r"object 1: the box None must be four numbers \(x, y,",
    ),
    (
        "all-short",
        good(bbox=[[1, 1]] * 3),
        {"box_format": "xyxy"},
        r"object 0: .* four numbers \(left, top, right, bott",
    ),
    (
        "lengths",
        good(category=[0, 1]),
        {},
        r"row 1: there are 3 boxes \(bbox\), but 2 of category; give each object one",
    ),
    (
        "crowd-length",
        good(iscrowd=[0]),
        {},
        r"row 1: there are 3 boxes \(bbox\), but 1 of iscrowd; give each object one",
    ),
    ("no-categories", good(category=None), {}, r"row 1: there are 3 boxes \(bbox\), but 0 of category; give each"),
    (
        "no-category",
        good(category=[0, None, 2]),
        {},
        r"row 1, object 1: the category None is negative or missing; corre",
    ),
    ("negative", good(category=[0, 1, -1]), {}, r"row 1, object 2: the category -1 is negative or missing; correct or"),
    (
        "no-objects",
        None,
        {},
        r"row 1: the objects are missing; remove the row, or give it an empty list if it has none",
    ),
    ("fractions", good(), {"normalised": True}, r"row 0: a box holds 39, .* no fraction .*set .*normalised: false"),
    (
        "field",
        good(),
        {"box_field": "box"},
        r"box_field: column 'objects' has no field 'box'; its fields are bbox, cat",
    ),
    (
        "category-field",
        good(),
        {"category_field": "x"},
        r"category_field: column 'objects' has no field 'x'; its fields",
    ),
    (
        "mask-field",
        good(),
        {"mask_field": "x"},
        r"mask_field: column 'objects' has no field 'x'; its fields are bbox, c",
    ),
    (
        "not-boxes",
        good(),
        {"box_field": "category"},
        r"box_field: field 'category' .* does not hold lists of four number",
    ),
    (
        "not-classes",
        good(),
        {"category_field": "bbox"},
        r"category_field: field 'bbox' .* does not hold one integer or",
    ),
    (
        "column",
        good(),
        {"objects_column": "boxes"},
        r"objects_column: no column 'boxes'; the columns are image \(Image\)",
    ),
    (
        "not-objects",
        good(),
        {"objects_column": "image"},
        r"objects_column: column 'image' holds Image, not objects \(a",
    ),
    (
        "no-masks",
        good(),
        {"masks": True},
        r"masks: masks are wanted, but the objects in column 'objects' have none under",
    ),
    (
        "classes",
        good(),
        {"num_classes": 5},
        r"num_classes: 5 given, but the data set has 3 classes \(red, green, blue\)",
    ),
]


@pytest.mark.parametrize(("objects", "changes", "message"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_bad_objects_give_one_clear_line(write, objects, changes, message):
    first = good() if objects is None else {name: good().get(name, [0, 0, 0]) for name in objects}
    made = table([first, objects])
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        list(module(write(train=made, validation=made), **changes).val_dataloader())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_splits_without_objects(write):
    full, empty = table([objects_of(0)] * 2), table([{"bbox": [], "category": []}] * 2)
    with pytest.raises(DataError, match=r"^split 'validation' has no object at all; label it, or name another split"):
        module(write(train=full, validation=empty))
    number = datasets.Features({**full.features, "objects": [{"bbox": [FLOAT], "id": INTEGER}]})
    none = datasets.Dataset.from_dict({"image": full["image"], "objects": [[], []]}, features=number)
    with pytest.raises(DataError, match=r"^split 'train' has no object at all; label it, or name another split"):
        module(write(train=none, validation=none), category_field="id")
    bare = full.remove_columns("objects")
    with pytest.raises(DataError, match=r"objects_column: cannot tell .* objects with boxes; .* another data module"):
        module(write(train=bare, validation=bare))
    with pytest.raises(DataError, match=r"^split 'test' has no column 'objects'; name a split with objects, or use"):
        module(write(train=full, validation=full)).check(bare, "test", "test")


def test_a_set_of_fractions_is_refused_at_once(write):
    made = table([{"bbox": [[0.1, 0.1, 0.5, 0.5]], "category": [0]}] * 2)
    with pytest.raises(
        DataError, match=r"normalised: false, but no box in split 'train' holds .* above 0\.5.*set it to"
    ):
        module(write(train=made, validation=made))


def test_categories_that_training_does_not_know(write):
    def made(label):
        return table([{"bbox": [[1, 1, 9, 9]], "category": [0], "label": [label]}] * 2)

    data = module(write(train=made("cat"), validation=made("dog")), category_field="label")
    with pytest.raises(
        DataError, match=r"'validation', row 0, object 0: label 'dog' is not .*init_args\.category_field"
    ):
        list(data.val_dataloader())
    assert data.class_names == ["cat"]
    with pytest.raises(DataError, match=r"num_classes: with streaming, labels must be a ClassLabel column, or integ"):
        module(data.dataset, category_field="label", streaming=True)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("box_format", "yxyx"),
        ("num_classes", 0),
        ("image_size", 0),
        ("max_size", 799),
        ("mean", (0.5, 0.5)),
        ("batch_size", 0),
    ],
)
def test_bad_arguments_are_refused_at_once(argument, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.{argument}: ") as caught:
        DetectionDataModule(**{argument: value})
    assert repr(value) in str(caught.value)


def test_bad_combinations_are_refused_at_once():
    with pytest.raises(
        ConfigError, match=r"max_size: 1333 must not be below the shorter side, 1400 \(image_size or au"
    ):
        DetectionDataModule(augmentation=DetectionAugmentation(short_sides=(480, 1400)))
    with pytest.raises(ConfigError, match=r"scenes: .* is for the data set digit_scenes; leave it out"):
        DetectionDataModule(dataset="x", scenes=Scenes(seed=1))
    with pytest.raises(ConfigError, match=r"call setup"):
        _ = DetectionDataModule().num_classes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("short_sides", (0,)),
        ("flip", 1.5),
        ("flip_vertical", -0.5),
        ("scale", (0.0, 1.0)),
        ("scale", (2.0, 1.0)),
        ("scale", (1.0, INF)),
        ("scale", (1.0,)),
    ],
)
def test_bad_fields_are_named(field, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.augmentation\.{field}: ") as caught:
        DetectionAugmentation(**{field: value})
    assert repr(value) in str(caught.value)
