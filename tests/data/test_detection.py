import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biformer_lit.data import DetectionAugmentation, DetectionDataModule, Scenes, SegmentationDataModule
from biformer_lit.detection.boxes import Repairs
from biformer_lit.errors import ConfigError, DataError

from .objects import HEIGHT, NAMES, WIDTH, blocks, boxes_of, module, objects_of, samples, table, telling, write_rows
from .test_classification import epoch_of, indices
from .test_segmentation import stored


@pytest.fixture
def folder(write):
    return write_rows(write)


def test_digit_scenes_out_of_the_box():
    data = DetectionDataModule(
        scenes=Scenes(train=5, validation=3, test=2), image_size=112, num_workers=0, batch_size=4, masks=True
    )
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    assert data.class_names == [str(digit) for digit in range(10)]
    batch = next(iter(data.train_dataloader()))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items() if key != "objects"} == {
        "image": ((4, 3, 128, 128), torch.float32),
        "size": ((4, 2), torch.int64),
        "stored_size": ((4, 2), torch.int64),
        "index": ((4,), torch.int64),
    }
    assert batch["size"].tolist() == [[112, 112]] * 4
    assert batch["stored_size"].tolist() == [[96, 96]] * 4
    for objects in batch["objects"]:
        count = len(objects["labels"])
        assert {key: (tuple(value.shape), value.dtype) for key, value in objects.items()} == {
            "boxes": ((count, 4), torch.float32),
            "labels": ((count,), torch.int64),
            "masks": ((count, 112, 112), torch.uint8),
        }
    rows = data.load()["validation"]
    for index, _, objects in samples(data.val_dataloader()):
        row = rows[index]["objects"]
        left, top, width, height = np.array(row["bbox"]).T
        np.testing.assert_array_equal(objects["boxes"], np.stack([left, top, left + width, top + height], 1))
        assert objects["labels"].tolist() == row["category"]
        assert objects["area"].tolist() == row["area"]
        assert objects["crowd"].tolist() == [False] * len(row["bbox"])
        np.testing.assert_array_equal(objects["masks"], np.stack([np.asarray(mask) for mask in row["segmentation"]]))
    assert data.repairs["validation"] == Repairs()


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("box_format", ["xywh", "xyxy", "cxcywh"])
@pytest.mark.parametrize("normalised", [False, True])
def test_formats_say_the_same(write, box_format, normalised, listed):
    rows = []
    for row in range(3):
        left, top, right, bottom = boxes_of(row).T
        width, height = right - left, bottom - top
        boxes = {
            "xywh": (left, top, width, height),
            "xyxy": (left, top, right, bottom),
            "cxcywh": ((left + right) / 2, (top + bottom) / 2, width, height),
        }[box_format]
        whole = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) if normalised else 1
        rows.append({"bbox": (np.stack(boxes, 1) / whole).tolist(), "category": [0, 1, 2]})
    folder = write(train=table(rows, listed=listed), validation=table(rows, listed=listed))
    data = module(folder, box_format=box_format, normalised=normalised)
    assert data.class_names == NAMES
    for batches in (data.val_dataloader(), epoch_of(data)):
        for index, _, objects in samples(batches):
            np.testing.assert_allclose(objects["boxes"], boxes_of(index), atol=1e-4)
            assert objects["labels"].tolist() == [0, 1, 2]
    assert data.repairs["validation"] == Repairs()


def test_evaluation_keeps_stored_coordinates_and_pads(write):
    images = [telling(boxes_of(0), range(3)), telling(boxes_of(1), range(3), 70, 56)]
    made = table([objects_of(0), objects_of(1)], images)
    data = module(write(train=made, validation=made), mean=(0.2, 0.2, 0.2), image_size=80, max_size=100)
    (batch,) = data.val_dataloader()
    assert batch["size"].tolist() == [[71, 100], [100, 80]]
    assert batch["stored_size"].tolist() == [[HEIGHT, WIDTH], [70, WIDTH]]
    assert batch["image"].shape == (2, 3, 128, 128)
    for index, (height, width), objects in zip((0, 1), batch["size"].tolist(), batch["objects"], strict=True):
        np.testing.assert_array_equal(objects["boxes"], boxes_of(index))
        assert (batch["image"][index, :, height:] == 0).all()
        assert (batch["image"][index, :, :, width:] == 0).all()
    fed = {index: image.shape[1:] for index, image, _ in samples(epoch_of(data))}
    assert fed == {0: (71, 100), 1: (100, 80)}


def test_orientation_applies_before_boxes(write):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.zeros((WIDTH, HEIGHT, 3), np.uint8))
    made = table([objects_of(0)] * 2, [stored(image, exif=exif), telling(boxes_of(0), range(3))])
    (batch,) = module(write(train=made, validation=made)).val_dataloader()
    assert batch["stored_size"].tolist() == [[HEIGHT, WIDTH]] * 2


def test_images_without_objects_are_kept(write):
    empty = {"bbox": [], "category": [], "segmentation": [], "area": []}
    full = {**objects_of(0), "segmentation": [stored(Image.fromarray(m)) for m in blocks(boxes_of(0))]}
    made = table([empty, {**full, "area": [7.0, None, 9.0]}] * 4, pictures="segmentation")
    augmentation = DetectionAugmentation(crop=True, scale=(0.5, 2.0))
    data = module(write(train=made, validation=made), masks=True, augmentation=augmentation)
    for batches in (epoch_of(data), data.val_dataloader()):
        found = 0
        for index, image, objects in samples(batches):
            found += 1
            if index % 2 == 0:
                assert objects["boxes"].shape == (0, 4)
                assert objects["labels"].shape == (0,)
                assert objects["masks"].shape[0] == 0
                assert objects["masks"].shape[1:] in {image.shape[1:], (HEIGHT, WIDTH)}
            elif "area" in objects:
                assert objects["area"].tolist() == [7.0, float(blocks(boxes_of(0))[1].sum()), 9.0]
        assert found == 8


def test_crowds_are_left_out_of_training(write):
    made = table([{**objects_of(row), "iscrowd": [0, 1, None]} for row in range(4)])
    data = module(write(train=made, validation=made))
    assert all(objects["labels"].tolist() == [0, 2] for _, _, objects in samples(epoch_of(data)))
    for _, _, objects in samples(data.val_dataloader()):
        assert objects["labels"].tolist() == [0, 1, 2]
        assert objects["crowd"].tolist() == [False, True, False]


def test_streaming(folder):
    data = module(folder, streaming=True, shuffle_buffer=4)
    assert data.class_names == NAMES
    for batches, count in ((epoch_of_stream(data), 8), (data.val_dataloader(), 4)):
        boxes = [objects["boxes"].tolist() for _, _, objects in samples(batches)]
        assert sorted(boxes) == sorted(boxes_of(row).tolist() for row in range(count))


def epoch_of_stream(data):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(0)
    return list(loader)


def test_masks_are_read_if_the_task_says_so(write, folder):
    masks = [stored(Image.fromarray(mask)) for mask in blocks(boxes_of(0))]
    made = table([{**objects_of(0), "segmentation": masks}] * 2, pictures="segmentation")
    data = module(write(train=made, validation=made))
    assert "masks" not in next(iter(data.val_dataloader()))["objects"][0]
    for needed in (True, False):
        data.need_masks(needed)
        assert ("masks" in next(iter(data.val_dataloader()))["objects"][0]) is needed


def test_classes_of_integers_strings_and_id2label(write):
    def made(kind, values):
        return table([{**objects_of(row), kind: values} for row in range(2)]).map(_without_category)

    def _without_category(row):
        return {"objects": {key: value for key, value in row["objects"].items() if key != "category"}}

    for kind, values, names, numbers in (
        ("number", [3, 90, 7], ["3", "7", "90"], [0, 2, 1]),
        ("label", ["cat", "ant", "cat"], ["ant", "cat"], [1, 0, 1]),
    ):
        rows = made(kind, values)
        data = module(write(train=rows, validation=rows), category_field=kind)
        assert data.class_names == names
        assert next(samples(data.val_dataloader()))[2]["labels"].tolist() == numbers
    (Path(data.dataset) / "id2label.json").write_text(json.dumps({"0": "bee", "1": "cat", "2": "ant"}))
    data = module(data.dataset, category_field="label")
    assert data.class_names == ["bee", "cat", "ant"]
    assert next(samples(data.val_dataloader()))[2]["labels"].tolist() == [1, 2, 1]
    assert module(data.dataset, category_field="label", streaming=True).num_classes == 3
    with pytest.raises(ConfigError, match=r"num_classes: 4 given, but id2label\.json names 3 classes; leave it out"):
        module(data.dataset, category_field="label", num_classes=4)


def test_prediction_of_what_is_not_labelled(write, folder):
    made = table([objects_of(0), None])
    data = module(write(train=made, test=made), "predict")
    (batch,) = data.predict_dataloader()
    np.testing.assert_array_equal(batch["objects"][0]["boxes"], boxes_of(0))
    assert batch["objects"][1] is None
    with pytest.raises(DataError, match=r"^split 'test', row 1: the objects are missing; remove .* empty list"):
        data.setup("test")


def test_prediction_without_any_objects(write):
    bare = table([objects_of(0)]).remove_columns("objects")
    data = module(write(test=bare), "predict")
    assert next(iter(data.predict_dataloader()))["objects"] == [None]
    with pytest.raises(DataError, match=r"objects_column: cannot tell which column holds the objects with boxes; set"):
        data.setup("test")


def test_a_validation_split_is_taken_from_the_training_data(write):
    data = module(write(train=table([objects_of(row) for row in range(10)])), val_fraction=0.2)
    rows = indices(data.val_dataloader())
    assert len(rows) == 2
    assert not set(rows) & set(indices(epoch_of(data)))


def test_other_data_modules_point_here(folder):
    with pytest.raises(DataError, match=r"mask_column: .*; column 'objects' holds boxes, .* for DetectionDataModule$"):
        SegmentationDataModule(dataset=str(folder), num_classes=3).setup("fit")


@pytest.mark.skipif(
    "BIFORMER_LIT_TEST_DATA" not in os.environ, reason="BIFORMER_LIT_TEST_DATA, a folder with bccd, is not set"
)
def test_real_photos():
    data = module(f"{os.environ['BIFORMER_LIT_TEST_DATA']}/bccd", image_size=48, batch_size=5)
    data.setup("test")
    assert data.class_names == ["RBC", "WBC", "Platelets"]
    assert [data.num_rows(part) for part in ("train", "validation", "test")] == [205, 87, 72]
    counts = np.zeros(3, int)
    for batches in (epoch_of(data), data.val_dataloader(), data.test_dataloader()):
        for _, _, objects in samples(batches):
            counts += np.bincount(objects["labels"], minlength=3)
    # all 4886 boxes that its README counts: those of no area are not in the files any more, and none lie outside
    assert counts.tolist() == [4153, 372, 361]
    assert set(data.repairs.values()) == {(0, 0, 0, 0)}
