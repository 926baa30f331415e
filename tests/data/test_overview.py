"""What a run says of its data when it starts, and what it refuses then."""

import datasets
import numpy as np
import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from biformer_lit.data import ClassificationDataModule, DetectionDataModule, SegmentationDataModule
from biformer_lit.data.overview import Overview, PartOverview
from biformer_lit.data.survey import Survey, in_time
from biformer_lit.errors import DataError

from .conftest import encode, picture

NAMES = ["ant", "bee", "cat", "dog"]


def classified(labels, sizes=None, bad=()):
    sizes = sizes or [8] * len(labels)
    content = [{"bytes": b"broken" if row in bad else encode(np.zeros((size, 2 * size, 3))), "path": f"{row}.png"}
               for row, size in enumerate(sizes)]  # fmt: skip
    table = datasets.Dataset.from_dict({"image": content, "label": labels}).cast_column("image", datasets.Image())
    return table.cast_column("label", datasets.ClassLabel(names=NAMES))


def segmented(masks, sizes=None):
    images = [picture(row, (sizes or [8] * len(masks))[row]) | {"path": f"{row}.jpg"} for row in range(len(masks))]
    stored = [None if mask is None else {"bytes": encode(mask), "path": None} for mask in masks]
    table = datasets.Dataset.from_dict({"image": images, "mask": stored})
    return table.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())


def detected(categories):
    rows = [{"bbox": [[1.0, 1.0, 4.0, 4.0]] * len(row), "category": row} for row in categories]
    images = [picture(row) | {"path": f"{row}.jpg"} for row in range(len(categories))]
    return datasets.Dataset.from_dict({"image": images, "objects": rows}).cast_column("image", datasets.Image())


def overview(kind, folder, stage="fit", **changes):
    data = kind(dataset=folder, num_workers=0, batch_size=1, **changes)
    data.setup(stage)
    return data.overview(stage)


def test_classes_of_images(write):
    folder = write(train=classified([0, 0, 1, 2], [8, 4, 16, 8]), validation=classified([0, 2, 2], [9, 9, 9]))
    found = overview(ClassificationDataModule, folder)
    assert found.line() == (
        f"data {folder!r}: train: 4 rows of split 'train', validation: 3 rows of split 'validation'; 4 classes, images "
        "of each: ant (2), bee (1), cat (1), dog (0); train images 8x4 to 32x16; validation images 18x9; never in "
        "train: dog; never in validation: bee, dog; 2 of 2 files used"
    )
    assert "| cat | 1 | 2 |" in found.table()
    assert "| train | train | 4 | 4 | 8x4 to 32x16 |" in found.table()
    assert "* never in train: dog" in found.table()


def test_a_part_that_is_cut_off(write):
    found = overview(ClassificationDataModule, write(train=classified([0, 1] * 10)), val_fraction=0.2)
    assert "train: 16 of 20 rows of split 'train', validation: 4 of 20 rows of split 'train'" in found.line()
    assert [part.counts.tolist() for part in found.parts] == [[8, 8, 0, 0], [2, 2, 0, 0]]


def test_objects(write):
    whole = detected([["cat", "dog"], ["cat"], []])
    found = overview(DetectionDataModule, write(train=whole, validation=whole))
    assert "2 classes, objects of each: cat (2), dog (1); images 8x8" in found.line()


def test_pixels_and_a_class_that_never_occurs(write):
    mask = np.zeros((8, 8))
    mask[:2] = 1
    whole = segmented([mask, mask])
    found = overview(
        SegmentationDataModule, write(train=whole, validation=whole), num_classes=3, absent_classes="allow"
    )
    assert "3 classes, pixels of each: 0 (75.0%), 1 (25.0%), 2 (0); images 8x8; never in train: 2" in found.line()
    assert "| 1 | 32 | 32 |" in found.table()


def test_many_classes_and_names_of_strangers():
    names = (*(f"class {i}" for i in range(5000)), "evil\x1b[31m|<b>")
    counts = np.arange(5001)
    part = PartOverview("train", "train", 9, 9, counts, 9)
    found = Overview("me", "images", names, (part,))
    assert "5,001 classes, images of each: most evil\\x1b[31m|<b> (5,000)" in found.line()
    assert "never in train: class 0" in found.line()
    assert len(found.line()) < 400
    assert len(found.table().splitlines()) < 215
    assert "| and 4,801 more |" in found.table()
    table = Overview("me", "images", names[-1:], (part,)).table()
    assert r"| evil\\x1b\[31m\|&lt;b&gt; | 0 |" in table


def test_a_stream_is_not_read(write):
    folder = write(train=classified([0, 1, 2]), validation=classified([0]))
    found = overview(ClassificationDataModule, folder, streaming=True)
    assert found.line() == (
        f"data {folder!r}: train: split 'train', a stream of unknown length, validation: split 'validation', a stream "
        "of unknown length; 4 classes: ant, bee, cat, dog; 2 of 2 files used"
    )


def test_faults_are_counted_and_named(write):
    small = [8, 8, 8, 4, 4]
    masks = [np.arange(64).reshape(8, 8) % 2] * 5
    folder = write(train=segmented(masks, small), validation=segmented(masks[:2]), test=segmented(masks, small))
    for stage in ("fit", "test"):
        with pytest.raises(
            DataError,
            match=r"row 3 \(3.jpg\): the mask has 8x8 pixels, but its image has 4x4 .*on_bad_image: skip "
            r"\(the same in 2 of 5 rows: 3 \(3.jpg\), 4 \(4.jpg\)\)$",
        ):
            overview(SegmentationDataModule, folder, stage, num_classes=2)
    found = overview(SegmentationDataModule, folder, num_classes=2, on_bad_image="skip")
    assert "train: 2 of 5 rows cannot be used and are skipped: split 'train', row 3 (3.jpg)" in found.line()
    data = SegmentationDataModule(dataset=folder, num_classes=2, num_workers=0, batch_size=4, on_bad_image="skip")
    data.setup("test")
    assert [row for batch in data.test_dataloader() for row in batch["index"].tolist()] == [0, 1, 2]


def test_images_that_cannot_be_read(write):
    folder = write(train=classified([0, 1, 2] * 3, bad=[2, 5]), validation=classified([0]))
    with pytest.raises(DataError, match=r"row 2 \(2.png\): the image cannot be read .*\(the same in 2 of 9 rows: 2 "):
        overview(ClassificationDataModule, folder)
    assert "2 of 9 rows cannot be used" in overview(ClassificationDataModule, folder, on_bad_image="skip").line()


def test_missing_masks_are_no_bad_images(write):
    masks = [np.arange(64).reshape(8, 8) % 2, None, None]
    folder = write(train=segmented(masks), validation=segmented(masks[:1]))
    with pytest.raises(DataError, match=r"row 1 \(1.jpg\): the mask is missing; .*\(the same in 2 of 3 rows"):
        overview(SegmentationDataModule, folder, num_classes=2, on_bad_image="skip")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_values_that_are_no_class(write, split):
    good = [np.arange(64).reshape(8, 8) % 2] * 3
    bad = [good[0], good[0] * 7, good[0] * 7]
    folder = write(**{"train": segmented(good), "validation": segmented(good), split: segmented(bad)})
    with pytest.raises(
        DataError, match=rf"split '{split}', row 1 \(1.jpg\): the mask holds the label 7, .* 2 of 3 rows"
    ):
        overview(SegmentationDataModule, folder, num_classes=2)


def test_masks_of_0_and_255(write):
    mask = np.zeros((8, 8))
    mask[:2] = 255
    good = segmented([np.arange(64).reshape(8, 8) % 2] * 2)
    for splits in (
        {"train": segmented([mask] * 2), "validation": good},
        {"train": good, "validation": segmented([mask])},
    ):
        with pytest.raises(DataError, match=r"of which 255 counts as no class, so that class '0'"):
            overview(SegmentationDataModule, write(**splits), num_classes=2)


def test_categories_that_only_validation_holds(write):
    folder = write(train=detected([["cat"], ["dog"]]), validation=detected([["cat"], ["wallaby", "cat"], ["wallaby"]]))
    with pytest.raises(
        DataError, match=r"split 'validation', row 1 \(1.jpg\).*'wallaby' is not one of .*cat, dog.* 2 of 3 rows: 1 "
    ):
        overview(DetectionDataModule, folder)


def test_there_is_an_end_to_looking():
    assert sorted(in_time(np.arange(100, 110), 60)) == list(range(100, 110))
    assert len(list(in_time(np.arange(10_000), 0))) == 64
    sizes = Survey(3)
    for size in ((4, 4), (2, 9), (1, 3)):
        sizes.add_size(size)
    assert (sizes.least, sizes.greatest) == ((1, 3), (2, 9))


class Nothing(LightningModule):
    def predict_step(self, batch, batch_idx):
        return batch["index"]


def test_a_run_tells_it_once(write, tmp_path, caplog):
    folder = write(train=classified([0]), test=classified([0, 1, 2, 3, 3]))
    data = ClassificationDataModule(dataset=folder, num_workers=0, image_size=8)
    logger = TensorBoardLogger(tmp_path, name="log")
    trainer = Trainer(logger=logger, accelerator="cpu", enable_progress_bar=False, barebones=False)
    with caplog.at_level("INFO"):
        rows = trainer.predict(Nothing(), datamodule=data)
    assert [x for row in rows for x in row.tolist()] == list(range(5))
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("data ")]
    text = "predict: 5 rows of split 'test'; 4 classes: ant, bee, cat, dog; images 16x8; 2 of 2 files used"
    assert told == [f"data {folder!r}: {text}"]
    log = EventAccumulator(logger.log_dir).Reload()
    (text,) = log.Tensors("data/predict/text_summary")
    assert b"| predict | test | 5 | 5 | 16x8 |" in text.tensor_proto.string_val[0]
