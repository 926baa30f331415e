"""Data modules number their classes as a trained network has them."""

import datasets
import numpy as np
import pytest
from PIL import Image

from biformer_lit.data import ClassificationDataModule, DetectionDataModule, SegmentationDataModule
from biformer_lit.detection.object_files import _category_ids
from biformer_lit.errors import ConfigError, DataError

NAMES = ["road", "sky", "tree"]


def picture(level=0):
    return Image.fromarray(np.full((8, 8, 3), level, np.uint8))


def save(folder, **splits):
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return str(folder)


def mapped(names, values):
    """A split of one image whose label map holds each of these numbers, with a list of all classes beside it."""
    mask = np.resize(np.array(values, np.uint8), (8, 8))
    content = {"image": [picture()], "annotation": [Image.fromarray(mask)], "scene": [[0]]}
    kinds = {"image": datasets.Image(), "annotation": datasets.Image()}
    feature = {**kinds, "scene": datasets.Sequence(datasets.ClassLabel(names=names))}
    return datasets.Dataset.from_dict(content, features=datasets.Features(feature))


def masks(data, stage):
    data.setup(stage)
    (batch,) = data.test_dataloader() if stage == "test" else data.val_dataloader()
    return batch["mask"][0, :8, :8].flatten()[:3].tolist()


def test_label_maps_are_read_by_name(tmp_path):
    splits = {"train": mapped(NAMES, [0, 1, 2]), "test": mapped(["tree", "road"], [0, 1, 255])}
    folder = save(tmp_path, **splits, validation=mapped(NAMES, [0, 1, 2]))
    data = SegmentationDataModule(dataset=folder, num_workers=0, batch_size=1)
    assert masks(data, "test") == [2, 0, 255]
    data.use_classes(["sky", "pole", "tree", "road"])
    assert masks(data, "test") == [2, 3, 255]
    assert masks(data, "validate") == [3, 0, 2]
    assert data.num_classes == 4
    with pytest.raises(DataError, match="tree is not among road, sky"):
        data.use_classes(["road", "sky"])
    assert data.class_names == ["sky", "pole", "tree", "road"]
    data.use_classes(None)
    assert masks(data, "validate") == [0, 1, 2]


def test_a_class_that_would_be_ignored_is_refused(tmp_path):
    folder = save(tmp_path, train=mapped(NAMES, [0, 1, 2]), validation=mapped(NAMES, [0, 1, 2]))
    data = SegmentationDataModule(dataset=folder, num_workers=0, batch_size=1, ignore_index=3)
    data.setup("validate")
    with pytest.raises(ConfigError, match="ignore_index: 3 is one of the 4 classes of the trained network"):
        data.use_classes(["pole", *NAMES])


def boxed(names, categories):
    objects = {"bbox": [[1.0, 1.0, 4.0, 4.0], [2.0, 2.0, 5.0, 5.0]], "category": categories}
    kinds = {"bbox": datasets.Sequence(datasets.Value("float32")), "category": datasets.ClassLabel(names=names)}
    features = {"image": datasets.Image(), "objects": datasets.Sequence(kinds)}
    return datasets.Dataset.from_dict(
        {"image": [picture()], "objects": [objects]}, features=datasets.Features(features)
    )


def test_objects_are_read_by_name(tmp_path):
    splits = {"train": boxed(NAMES, [0, 2]), "test": boxed(["tree", "road"], [0, 1])}
    folder = save(tmp_path, **splits, validation=boxed(NAMES, [0, 2]))
    data = DetectionDataModule(dataset=folder, num_workers=0, batch_size=1, image_size=8, max_size=8)

    def labels(stage):
        data.setup(stage)
        (batch,) = data.test_dataloader() if stage == "test" else data.val_dataloader()
        return batch["objects"][0]["labels"].tolist()

    assert labels("test") == [2, 0]
    data.use_classes(["tree", "sky", "road", "pole"])
    assert labels("test") == [0, 2]
    assert labels("validate") == [2, 0]
    task = type("Task", (), {"class_names": data.class_names, "num_classes": 4, "category_ids": [7, 8, 2, 9]})()
    assert _category_ids(task, data) == [2, 1, 0, 9]


def numbered(values):
    table = datasets.Dataset.from_dict({"image": [picture(v) for v in values], "label": values})
    return table.cast_column("image", datasets.Image())


def test_more_classes_than_the_training_data_shows_are_refused(tmp_path):
    folder = save(tmp_path / "two", train=numbered([0, 1] * 4), validation=numbered([0, 1]))
    settings = {"num_workers": 0, "batch_size": 2, "image_size": 8}
    with pytest.raises(ConfigError, match=r"num_classes: 11 given, but the data set has 2 classes \(0, 1\); leave it"):
        ClassificationDataModule(dataset=folder, num_classes=11, **settings).setup("fit")
    folder = save(tmp_path / "gap", train=numbered([0, 2] * 4), validation=numbered([0, 2]))
    gap = ClassificationDataModule(dataset=folder, num_classes=3, **settings)
    gap.setup("fit")
    assert gap.class_names == ["0", "1", "2"]
    folder = save(tmp_path / "alone", test=numbered([0, 1]))
    alone = ClassificationDataModule(dataset=folder, num_classes=11, **settings)
    alone.setup("test")
    assert alone.num_classes == 11


def test_labels_can_be_left_out_of_account(tmp_path):
    folder = save(tmp_path, test=numbered([4, 9]))
    data = ClassificationDataModule(dataset=folder, unlabelled=True, num_workers=0, batch_size=2, image_size=8)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["label"].tolist() == [-1, -1]
    with pytest.raises(DataError, match=r"unlabelled: true, so nothing can be learnt or measured"):
        data.setup("test")
