"""What is said of a split's objects before the first epoch, and what refuses it."""

import logging

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from biformer_lit.detection.boxes import Repairs
from biformer_lit.errors import ConfigError, DataError

from .objects import HEIGHT, WIDTH, blocks, boxes_of, module, objects_of, samples, table, telling
from .test_classification import epoch_of
from .test_segmentation import stored

LISTED = pytest.mark.parametrize("listed", [False, True])


def crowded(row, crowd):
    return {**objects_of(row), "iscrowd": crowd}


@LISTED
@pytest.mark.parametrize("field", ["iscrowd", "area"])
@pytest.mark.parametrize(("kind", "values"), [("label", ["ant", "bee", "1"]), ("polygons", [[[1.0]]] * 3)])
def test_fields_that_hold_no_numbers_are_refused_at_once(write, field, kind, values, listed):
    made = table([{**objects_of(row), field: values} for row in (0, 1)], listed=listed, **{kind: field})
    message = rf"^split 'train', row 0: {field} is not one number for each object; convert or remove the field \("
    with pytest.raises(DataError, match=message):
        module(write(train=made, validation=made))


@LISTED
def test_numbers_that_are_stored_as_text_count(write, listed):
    made = table([crowded(row, ["0", "1", "0"]) for row in (0, 1)], listed=listed, label="iscrowd")
    data = module(write(train=made, validation=made))
    crowds = [objects["crowd"].tolist() for _, _, objects in samples(data.val_dataloader())]
    assert crowds == [[False, True, False]] * 2


@LISTED
def test_crowds_are_counted(write, caplog, listed):
    made = table([crowded(0, [0, 1, 0]), crowded(1, [1, 1, 0])], listed=listed)
    data = module(write(train=made, validation=made))
    with caplog.at_level(logging.WARNING):
        assert [len(objects["labels"]) for _, _, objects in samples(epoch_of(data))] in ([2, 1], [1, 2])
        assert [objects["crowd"].tolist() for _, _, objects in samples(data.val_dataloader())] == [
            [False, True, False],
            [True, True, False],
        ]
    assert data.repairs == {split: Repairs(crowds=3) for split in ("train", "validation")}
    told = "objects: 3 neither trained on nor scored, being crowds (iscrowd) (rows 0, 1)"
    assert [record.getMessage() for record in caplog.records] == [
        f"split 'train': {told}",
        f"split 'validation': {told}",
    ]


@LISTED
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_split_of_crowds_is_refused(write, stage, listed):
    full, crowds = table([objects_of(0)] * 2), table([crowded(0, [1, 1, 1])] * 2, listed=listed)
    splits = {"train": crowds if stage == "fit" else full, "validation": crowds, "test": crowds}
    split = {"fit": "train", "validate": "validation", "test": "test"}[stage]
    full = table([crowded(0, [0, 0, 0])] * 2, listed=listed)
    splits["train"] = crowds if stage == "fit" else full
    with pytest.raises(
        DataError, match=rf"^split '{split}' has nothing but crowds \(iscrowd .* 6 objects\), which are n"
    ):
        module(write(**splits), stage)


def test_a_part_of_the_training_rows_that_has_nothing_to_score_is_refused(write):
    rows = [crowded(row, [0, 0, 0] if row < 2 else [1, 1, 1]) for row in range(20)]
    folder = write(train=table(rows))
    seeds = {seed: _outcome(folder, split_seed=seed) for seed in range(20)}
    refused = [message for message in seeds.values() if message]
    assert 0 < len(refused) < len(seeds)  # by chance
    assert all("the 2 rows to validate on, without a split of their own, have nothing but crowds" in m for m in refused)
    assert "or name another data.init_args.val_split, val_fraction or split_seed" in refused[0]


def _outcome(folder, **changes):
    try:
        module(folder, **changes)
    except DataError as error:
        return str(error)


# -- rows that cannot be used ----------------------------------------------------------------------------------


def _runs(mask, by_row=False):
    encoded = coco.encode(np.asfortranarray((np.ascontiguousarray(mask).T if by_row else mask).astype(np.uint8)))
    return {"counts": encoded["counts"].decode(), "size": [HEIGHT, WIDTH]}


SQUARE = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
DAMAGED = {
    "box": ({"bbox": [[1, 1, 5, 5]] * 2 + [[1, 2, float("inf"), 4]]}, "object 2: the box .* is not finite"),
    "numbers": ({"bbox": [[1, 1, 5, 5], [1, 2, 3], [1, 1, 5, 5]]}, r"object 1: the box .* must be four numbers"),
    "lengths": ({"category": [0, 1]}, "there are 3 boxes .* but 2 of category"),
    "polygon": (
        {"polygons": [SQUARE, SQUARE, [[1.0, 1.0, 9.0, float("nan"), 9.0, 9.0]]]},
        "object 2: a polygon is not",
    ),
    "no-mask": ({"polygons": [SQUARE, None, SQUARE]}, "object 1: the mask is missing"),
    "runs": (
        {"runs": [{"counts": "garbage!", "size": [HEIGHT, WIDTH]}] * 3},
        "object 0: the run lengths .* damaged",
    ),
}


@LISTED
@pytest.mark.parametrize("kind", DAMAGED)
def test_rows_that_cannot_be_used_end_no_epoch(write, kind, listed):
    """The error comes when the data is set up, of whatever row, and counts the others."""
    changes, message = DAMAGED[kind]
    mask = next((name for name in changes if name in ("polygons", "runs")), None)
    changes = {"segmentation" if name == mask else name: value for name, value in changes.items()}
    good = objects_of(0)
    if mask:
        good["segmentation"] = [SQUARE if mask == "polygons" else _runs(blocks(boxes_of(0))[i]) for i in range(3)]
    if listed and kind == "lengths":
        pytest.skip("a list of structs has as many of each")
    rows = [good] * 6
    rows[3] = rows[5] = {**good, **changes}
    made = table(rows, listed=listed, **({mask: "segmentation"} if mask else {}))
    folder = write(train=table([good] * 2, listed=listed, **({mask: "segmentation"} if mask else {})), validation=made)
    with pytest.raises(DataError, match=rf"^split 'validation', row 3.*{message}.*\(1 more rows of the split look dam"):
        module(folder, masks=bool(mask))
    if mask:  # which matters only where masks are read
        module(folder)
    module(folder, masks=bool(mask), streaming=True)  # nobody knows its rows


# -- objects that do not lie in their images ---------------------------------------------------------------------


def as_format(boxes, kind):
    left, top, right, bottom = np.asarray(boxes, float).T
    width, height = right - left, bottom - top
    values = {
        "xywh": (left, top, width, height),
        "xyxy": (left, top, right, bottom),
        "cxcywh": (left + width / 2, top + height / 2, width, height),
    }
    return np.stack(values[kind], 1)


def many(kind, rows=30, normalised=False, **fields):
    whole = np.array([WIDTH, HEIGHT] * 2) if normalised else 1
    return [
        {
            "bbox": (as_format(boxes_of(row), kind) / whole).tolist(),
            "category": [0, 1, 2],
            **{k: f(row) for k, f in fields.items()},
        }
        for row in range(rows)
    ]


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(("true", "given"), [("xyxy", "xywh"), ("xywh", "xyxy"), ("cxcywh", "xyxy")])
def test_boxes_of_another_format_are_refused(write, true, given, normalised):
    made = table(many(true, normalised=normalised))
    folder = write(train=made, validation=made)
    with pytest.raises(
        DataError, match=r"^split 'train': \d\d of 90 boxes leave their image or are empty as "
    ) as caught:
        module(folder, box_format=given, normalised=normalised)
    assert f"is data.init_args.box_format {true}?" in str(caught.value)
    module(folder, box_format=true, normalised=normalised)


@pytest.mark.parametrize(("rows", "refused"), [(60, True), (10, False)])
def test_a_fifth_refuses_where_the_other_format_has_none(write, caplog, rows, refused):
    made = table([{"bbox": [[0, 0, 9, 9], *[[20, 15, 12, 10]] * 2], "category": [0, 1, 2]}] * rows)
    found = _outcome(write(train=made, validation=made), box_format="cxcywh")
    assert (found is not None) == refused
    assert "box_format xywh?" in (found or caplog.text)


@pytest.mark.parametrize(("true", "given"), [("cxcywh", "xywh")])
def test_boxes_that_leave_their_image_on_one_side_are_told(write, caplog, true, given):
    """Not refused: few of them do."""
    made = table(many(true, 60))
    with caplog.at_level(logging.WARNING):
        module(write(train=made, validation=made), box_format=given)
    (message, _) = (record.getMessage() for record in caplog.records)
    assert message.startswith("split 'train': ")
    told = f"of 180 boxes leave their image or are empty as {given}, and all lie in it as {true}: "
    assert message.endswith(f"{told}is data.init_args.box_format {true}?")


def test_x_and_y_exchanged_and_other_sizes(write, caplog):
    wide = [telling(boxes_of(row, 3, 20, 80), range(3), 20, 80) for row in range(30)]
    rows = [
        {"bbox": as_format(boxes_of(row, 3, 20, 80), "xyxy")[:, [1, 0, 3, 2]].tolist(), "category": [0, 1, 2]}
        for row in range(30)
    ]
    made = table(rows, wide)
    with pytest.raises(
        DataError, match=r"as xyxy, and all lie in it as xyxy with x and y exchanged: exchange x and y, and set"
    ):
        module(write(train=made, validation=made), box_format="xyxy")
    other = table([{**row, "bbox": (3 * np.array(row["bbox"])).tolist()} for row in many("xywh")])
    with caplog.at_level(logging.WARNING):
        module(write(train=other, validation=other))
    assert "no other format does better: are they in pixels of images of another size?" in caplog.text


def test_boxes_that_leave_tiles_on_all_sides_are_clipped_without_a_question(write, caplog):
    rows = [{"bbox": [[-5, 3, 12, 9], [WIDTH - 6, 8, 14, 9], [20, HEIGHT - 5, 9, 12]], "category": [0, 1, 2]}] * 20
    made = table(rows)
    with caplog.at_level(logging.WARNING):
        data = module(write(train=made, validation=made))
    assert "another size" in caplog.text or not caplog.records
    assert "box_format" not in caplog.text
    list(data.val_dataloader())
    assert data.repairs["validation"] == Repairs(clipped=60)


MISSED = {
    "row by row": (
        "runs",
        lambda row: [_runs(m, by_row=True) for m in blocks(boxes_of(row))],
        r"run lengths go row by row",
    ),
    "exchanged": (
        "polygons",
        lambda row: [[[y for x, y in zip(p[::2], p[1::2], strict=True) for y in (y, x)]] for p in _outlines(row)],
        r"with x and y of the polygons exchanged",
    ),
    "other boxes": (
        "polygons",
        lambda row: [[p] for p in _outlines(row)],
        r"if the boxes are cxcywh: is data.init_args.box_fo",
    ),
}


def _outlines(row):
    return [[left, top, right, top, right, bottom, left, bottom] for left, top, right, bottom in boxes_of(row).tolist()]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
@pytest.mark.parametrize("kind", MISSED)
def test_masks_that_miss_their_own_box_are_refused(write, kind):
    name, make, message = MISSED[kind]
    made = table(many("cxcywh" if kind == "other boxes" else "xywh", segmentation=make), **{name: "segmentation"})
    folder = write(train=made, validation=made)
    with pytest.raises(
        DataError, match=rf"^split 'train': \d+ of \d+ masks lie outside their own box, but in it .*{message}"
    ):
        module(folder, masks=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_single_masks_that_miss_their_box_are_counted(write):
    rows = many("xywh", 4, segmentation=lambda row: [stored(Image.fromarray(mask)) for mask in blocks(boxes_of(row))])
    rows[1]["segmentation"] = rows[3]["segmentation"]
    made = table(rows, pictures="segmentation")
    data = module(write(train=made, validation=made), masks=True)
    list(data.val_dataloader())
    list(epoch_of(data))
    overlapping = sum(
        1 - (b & a).sum() / b.sum() > 0.5 for a, b in zip(*map(blocks, (boxes_of(1), boxes_of(3))), strict=True)
    )
    assert data.repairs["validation"].missed == data.repairs["train"].missed == overlapping > 0


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"box_format: 'xyhw' must be xywh, xyxy or cxcywh"):
        module("x", box_format="xyhw")
