"""Which stored numbers are which classes, and masks that cannot be what was meant."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from biformer_lit.data import DetectionDataModule, SegmentationDataModule
from biformer_lit.dense.masks import LabelRange, read_id2label
from biformer_lit.errors import ConfigError, DataError

from .test_segmentation import label_map, rotated, stored, table


def module(folder, stage="fit", **changes):
    plain = {"image_size": 16, "batch_size": 1, "num_workers": 0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    (data := SegmentationDataModule(dataset=str(folder), **{**plain, **changes})).setup(stage)
    return data


def masks(values, rows=4, **kind):
    """Masks of these numbers in blocks."""
    return [np.asarray(values, **kind)[label_map(row, classes=len(values))] for row in range(rows)]


def written(write, values, mode=None, **splits):
    def split(numbers):
        maps = masks(numbers, dtype=np.uint8)
        pictures = [Image.fromarray(one) for one in maps]
        return table(maps, [stored(one if mode is None else one.convert(mode)) for one in pictures])

    return write(
        **{name: split(numbers) for name, numbers in {"train": values, "validation": values, **splits}.items()}
    )


def seen(data, part="val"):
    return {int(x) for batch in getattr(data, f"{part}_dataloader")() for x in batch["mask"].unique()} - {255}


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_black_and_white_masks(write, stage):
    folder = written(write, [0, 255], test=[0, 255])
    with pytest.raises(
        DataError, match=r"^split '\w+': its masks hold 0, 255, of which 255 counts as no class"
    ) as caught:
        module(folder, stage, num_classes=2)
    assert "data.init_args.class_values: [0, 255]" in str(caught.value)
    data = module(folder, stage, num_classes=2, class_values=[0, 255])
    assert seen(data, "test" if stage == "test" else "val") == {0, 1}
    assert data.class_names == ["0", "255"]
    with pytest.raises(DataError, match=r"holds the label 255, but the 2 classes are stored as 0\.\.1.* class_values"):
        seen(module(folder, stage, num_classes=2, ignore_index=254), "test" if stage == "test" else "val")


@pytest.mark.parametrize(("values", "mode"), [([0, 1], None), ([0, 1], "P"), ([0, 255], "1")])
def test_other_masks_of_two_values_mean_two_classes(write, values, mode):
    assert seen(module(written(write, values, mode), num_classes=2)) == {0, 1}


def test_trimaps_and_gaps(write):
    folder = written(write, [0, 128, 255])
    data = module(folder, class_values=[255, 0, 128])
    for row, batch in enumerate(data.val_dataloader()):
        numbers = np.array([1, 2, 0])[label_map(row, classes=3)]
        assert torch.equal(batch["mask"][0, :20, :24], torch.from_numpy(numbers))
    with pytest.raises(ConfigError, match=r"num_classes: 2 given, but the data set names 3 classes"):
        module(folder, class_values=[255, 0, 128], num_classes=2)


def test_a_class_that_no_training_mask_holds(write):
    folder = written(write, [0, 1], validation=[0])
    with pytest.raises(
        DataError, match=r"^split 'train': no mask holds the classes '2' .*'9' .*1 more; its masks hold 0, 1; correct"
    ):
        module(folder, num_classes=11)
    assert module(folder, num_classes=11, absent_classes="allow").num_classes == 11
    assert module(folder, "validate", num_classes=11).num_classes == 11  # a single class without anything ignored
    assert module(folder, num_classes=2).num_classes == 2


def test_a_split_of_one_class_and_what_is_ignored(write):
    folder = written(write, [0, 1, 255], validation=[1, 255], test=[255])
    assert module(folder, "predict", num_classes=2).num_classes == 2
    for stage, names in (("validate", "class '1'"), ("test", "no class is all")):
        with pytest.raises(DataError, match=rf"its masks hold (1, )?255, of which 255 .*{names}"):
            module(folder, stage, num_classes=2)
    assert seen(module(folder, "validate", num_classes=2, absent_classes="allow")) == {1}


def test_reduced_labels_that_leave_one_class(write):
    with pytest.raises(
        DataError, match=r"its masks hold 0, 1, of which 0 counts as no class, so that class '0' \(stored as 1"
    ):
        module(written(write, [0, 1]), num_classes=1, reduce_zero_label=True)


def test_names_for_the_ignored_number_leave_one_class(write):
    folder = written(write, [0, 255])
    Path(folder, "id2label.json").write_text(json.dumps({"0": "background", "255": "figure"}))
    with pytest.raises(DataError, match=r"^split 'train': its masks hold 0, 255, .*class_values: \[0, 255\]"):
        module(folder)
    data = module(folder, class_values=[0, 255])
    assert (data.class_names, seen(data)) == (["background", "figure"], {0, 1})


def test_streams_are_looked_at_too(write):
    folder = written(write, [0, 255])
    with pytest.raises(DataError, match=r"class_values: \[0, 255\]"):
        module(folder, num_classes=2, streaming=True)
    module(folder, num_classes=2, streaming=True, class_values=[0, 255])


def names(folder, content):
    from pathlib import Path  # noqa: PLC0415

    (Path(folder) / "id2label.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("values", "content", "options", "expected"),
    [
        ([0, 1, 2], {"0": "a", "1": "b", "2": "c"}, {}, "abc"),
        ([1, 2, 3], {"1": "a", "2": "b", "3": "c"}, {}, "abc"),
        ([2, 5, 9], {"9": "c", "2": "a", "5": "b"}, {}, "abc"),
        ([2, 5, 9, 255], {"9": "c", "2": "a", "5": "b", "255": "void"}, {}, "abc"),
        ([0, 1, 2, 3], {"1": "a", "2": "b", "3": "c"}, {"reduce_zero_label": True}, "abc"),
        ([0, 1, 2, 3], {"0": "a", "1": "b", "2": "c"}, {"reduce_zero_label": True}, "abc"),
        ([0, 2, 5, 9], {"2": "a", "5": "b", "9": "c"}, {"reduce_zero_label": True}, "abc"),
        ([0, 255], {"0": "back", "255": "front"}, {"class_values": [255, 0]}, ["front", "back"]),
        ([0, 255], {"0": "back", "1": "front"}, {"class_values": [0, 255]}, ["back", "front"]),
    ],
)
def test_numbers_in_id2label_are_those_that_are_stored(write, values, content, options, expected):
    data = module(names(written(write, values), content), **options)
    assert data.class_names == list(expected)
    order = list(options.get("class_values", []))
    first = 1 if options.get("reduce_zero_label") else 0
    wanted = order or sorted(value for value in values if value != 255 and not (first and value == 0))
    for row, batch in enumerate(data.val_dataloader()):
        raw = np.asarray(values)[label_map(row, classes=len(values))]
        numbers = np.full(raw.shape, 255)
        for number, value in enumerate(wanted):
            numbers[raw == value] = number
        assert torch.equal(batch["mask"][0, :20, :24], torch.from_numpy(numbers))


def test_names_that_would_be_shifted(write):
    folder = written(write, [0, 1, 2, 3])  # 0 is "other", which reduce_zero_label leaves out
    with pytest.raises(DataError, match=r"no mask holds the class 'c' \(stored as 4\)"):
        module(names(folder, {"0": "other", "1": "a", "2": "b", "3": "c"}), reduce_zero_label=True)
    with pytest.raises(DataError, match=r"does not name class 1; with data\.init_args\.reduce_zero_label number"):
        module(names(folder, {"0": "other", "2": "b", "3": "c"}), reduce_zero_label=True)
    with pytest.raises(DataError, match=r"names other numbers than data\.init_args\.class_values"):
        module(names(folder, {"1": "a", "2": "b"}), class_values=[3, 4])


def test_id2label_of_objects_from_1(tmp_path):
    objects = {"bbox": [[1.0, 1.0, 4.0, 4.0], [2.0, 2.0, 5.0, 5.0]], "category": [3, 1]}
    rows = {"image": [stored(Image.new("RGB", (16, 16)))] * 2, "objects": [objects] * 2}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "train.parquet"))
    names(tmp_path, {"1": "cat", "3": "dog"})
    data = DetectionDataModule(dataset=str(tmp_path), image_size=16, num_workers=0, batch_size=1, val_split="train")
    data.setup("validate")
    assert data.class_names == ["cat", "dog"]
    assert next(iter(data.val_dataloader()))["objects"][0]["labels"].tolist() == [1, 0]


def test_ranges_far_out():
    limits = LabelRange(2, 70_000, False, values=(0, 65535))
    assert limits.encode(np.array([0, 65535, 70_000]), "").tolist() == [0, 1, 70_000]
    with pytest.raises(DataError, match=r"^here: the mask holds the label -3, .* stored as 0, 65535, and"):
        limits.encode(np.array([0, -3]), "here")
    assert LabelRange(2, -1, False, numbers=(4, 2)).encode(np.array([-1, 1, 0]), "").tolist() == [-1, 2, 4]


@pytest.mark.parametrize("content", ['{"0": "a", "0": "b"}', '{"0": {"name": "a"}}'])
def test_odd_files_of_names(tmp_path, content):
    (tmp_path / "id2label.json").write_text(content)
    assert len(read_id2label(str(tmp_path), 255)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_values": (0, 0)}, "class_values: "),
        ({"class_values": (-1, 0)}, "class_values: "),
        ({"class_values": ()}, "class_values: "),
        ({"class_values": (1, 2), "reduce_zero_label": True}, "class_values: "),
        ({"absent_classes": "warn"}, "absent_classes: 'warn' must be error or allow"),
        ({"mask_orientation": "exif"}, "mask_orientation: 'exif' must be auto, upright or stored"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.{message}"):
        SegmentationDataModule(**options)


# -- images that EXIF turns ------------------------------------------------------------------------------


def turned(write, value, count=1):
    """A photo that EXIF turns, whose upright labels are those of ``label_map`` turned, and a mask as given."""
    labels = label_map(1, 12, 20, classes=2)
    rows = table([labels] * count, [value] * count).remove_columns("image")
    rows = rows.add_column("image", [rotated(stored(Image.fromarray(labels * 40).convert("RGB")))] * count)
    return write(train=rows.cast_column("image", datasets.Image()), validation=rows), np.rot90(labels, -1).copy()


@pytest.mark.parametrize("made_on", ["stored", "upright", "own"])
@pytest.mark.parametrize("setting", ["auto", "upright", "stored"])
def test_masks_of_turned_images(write, made_on, setting):
    labels = label_map(1, 12, 20, classes=2)
    value = stored(Image.fromarray(np.rot90(labels, -1).copy() if made_on == "upright" else labels))
    folder, expected = turned(write, rotated(value) if made_on == "own" else value)
    data = module(folder, image_column="image", mask_column="annotation", num_classes=2, mask_orientation=setting)
    if made_on in {"own", setting} or setting == "auto":
        (batch,) = data.val_dataloader()
        np.testing.assert_array_equal(batch["mask"][0, :20, :12], expected)
        assert torch.equal((batch["image"][0, 0, :20, :12] * 255 / 40).round().long(), batch["mask"][0, :20, :12])
    else:
        with pytest.raises(DataError, match=r"the mask has \d+x\d+ pixels, but its image has 12x20"):
            list(data.val_dataloader())


@pytest.mark.parametrize(("orientation", "size"), [(3, (12, 20)), (2, (12, 20)), (6, (16, 16))])
def test_sizes_that_do_not_tell(write, orientation, size):
    labels = label_map(1, *size, classes=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = stored(Image.fromarray(labels * 40).convert("RGB"), exif=exif)
    rows = table([labels], [stored(Image.fromarray(labels))]).remove_columns("image").add_column("image", [photo])
    folder = write(train=rows.cast_column("image", datasets.Image()), validation=rows)
    options = {"image_column": "image", "mask_column": "annotation", "num_classes": 2}
    with pytest.raises(
        DataError, match=rf"orientation {orientation}\), and sizes do not tell .*mask_orientation: upright"
    ):
        list(module(folder, **options).val_dataloader())
    (batch,) = module(folder, **options, mask_orientation="upright").val_dataloader()
    np.testing.assert_array_equal(batch["mask"][0, : size[0], : size[1]], labels)
    (batch,) = module(folder, **options, mask_orientation="stored").val_dataloader()
    told = (batch["image"][0, 0, : size[0], : size[1]] * 255 / 40).round().long()
    assert torch.equal(told, batch["mask"][0, : size[0], : size[1]])
