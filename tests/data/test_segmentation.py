import io
import json
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from biformer_lit.data import Scenes, SegmentationAugmentation, SegmentationDataModule
from biformer_lit.data.images.decoding import BadImageError, decode_image
from biformer_lit.dense.masks import LabelRange, decode_mask
from biformer_lit.dense.pixel_transforms import resize_pair
from biformer_lit.errors import ConfigError, DataError

from .test_classification import Process, epoch_of, indices, same

PLAIN = SegmentationAugmentation(scale=(1.0, 1.0), flip=0.0, photometric=False, cat_max_ratio=1.0)
CLASSES = 5
STEP = 40  # grey levels between the classes in a picture that encodes its labels


def stored(image, kind="PNG", **options):
    image.save(buffer := io.BytesIO(), kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def rotated(value):
    """The same pixels with EXIF orientation 6: to be turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(Image.open(io.BytesIO(value["bytes"])), exif=exif)


def label_map(row, height=20, width=24, classes=CLASSES, block=4):
    """Rectangles of all classes, different for each row."""
    labels = np.random.default_rng(row).integers(0, classes, (-(-height // block), -(-width // block)))
    return np.kron(labels, np.ones((block, block), np.int64))[:height, :width].astype(np.uint8)


def telling(labels):
    """A picture whose grey levels tell the labels."""
    return stored(Image.fromarray(labels * STEP).convert("RGB"))


def table(maps, masks=None, mask="annotation", **columns):
    masks = [stored(Image.fromarray(labels)) for labels in maps] if masks is None else masks
    made = datasets.Dataset.from_dict({"image": [telling(labels) for labels in maps], mask: masks, **columns})
    return made.cast_column("image", datasets.Image()).cast_column(mask, datasets.Image())


@pytest.fixture
def folder(write):
    """Eight training images, and four of different sizes to validate on."""
    sizes = [(20, 24), (33, 70), (7, 5), (64, 31)]
    return write(
        train=table([label_map(row) for row in range(8)]),
        validation=table([label_map(row, *size) for row, size in enumerate(sizes)]),
    )


def module(folder, stage="fit", **changes):
    settings = {
        "dataset": str(folder),
        "num_classes": CLASSES,
        "image_size": 16,
        "batch_size": 2,
        "num_workers": 0,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "augmentation": PLAIN,
        "absent_classes": "allow",  # see test_mask_classes
    }
    (data := SegmentationDataModule(**{**settings, **changes})).setup(stage)
    return data


def told(images):
    """The labels that pictures tell."""
    return (images[:, 0] * 255 / STEP).round().long()


def test_digit_scenes_out_of_the_box():
    data = SegmentationDataModule(scenes=Scenes(train=8, validation=3, test=2), num_workers=0, batch_size=4)
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    assert data.class_names == ["background", *map(str, range(10))]
    assert (data.num_classes, data.ignore_index) == (11, 255)
    assert [data.num_rows(part) for part in ("train", "validation", "test", "predict")] == [8, 3, 2, 2]
    batch = next(iter(data.train_dataloader()))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "image": ((4, 3, 512, 512), torch.float32),
        "mask": ((4, 512, 512), torch.int64),
        "size": ((4, 2), torch.int64),
        "stored_size": ((4, 2), torch.int64),
        "index": ((4,), torch.int64),
    }
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (3, 3, 96, 96)
    assert batch["size"].tolist() == [[96, 96]] * 3


def test_evaluation_pads_right_and_below_what_is_ignored(folder):
    data = module(folder, mean=(0.2, 0.2, 0.2), eval_batch_size=4)
    (batch,) = data.val_dataloader()
    assert batch["image"].shape == (4, 3, 64, 96)
    assert batch["size"].tolist() == [[20, 24], [33, 70], [7, 5], [64, 31]]
    assert batch["index"].tolist() == [0, 1, 2, 3]
    for row, (height, width) in enumerate(batch["size"].tolist()):
        image, mask = batch["image"][row], batch["mask"][row]
        np.testing.assert_array_equal(mask[:height, :width], label_map(row, height, width))
        assert (mask[height:] == 255).all()
        assert (mask[:, width:] == 255).all()
        assert torch.equal(told(image[None, :, :height, :width] + 0.2)[0], mask[:height, :width])
        assert (image[:, height:] == 0).all()
        assert (image[:, :, width:] == 0).all()
    sizes = [tuple(batch["image"].shape[-2:]) for batch in module(folder).val_dataloader()]
    assert sizes == [(64, 96), (64, 32)]


def test_evaluation_at_a_short_side(folder):
    (batch,) = module(folder, eval_size=32, eval_batch_size=4).val_dataloader()
    assert batch["size"].tolist() == [[32, 38], [32, 68], [45, 32], [66, 32]]
    assert batch["stored_size"].tolist() == [[20, 24], [33, 70], [7, 5], [64, 31]]
    assert batch["image"].shape == (4, 3, 96, 96)
    assert batch["mask"].shape == (4, 64, 96)
    for row, (height, width) in enumerate(batch["stored_size"].tolist()):
        np.testing.assert_array_equal(batch["mask"][row, :height, :width], label_map(row, height, width))
        assert (batch["mask"][row, height:] == 255).all()


@pytest.mark.parametrize("change", [{"scale": (0.5, 2.0)}, {"flip": 1.0}, {"flip": 0.5}, {"scale": (0.3, 0.5)}])
@pytest.mark.parametrize("size", [16, (40, 12), 100])
def test_image_and_mask_move_together(write, change, size):
    rows = table([label_map(row, 48, 64, block=16) for row in range(4)])
    folder = write(train=rows, validation=rows)
    data = module(folder, image_size=size, augmentation=SegmentationAugmentation(**{**PLAIN.__dict__, **change}))
    for epoch in (0, 1):
        for batch in epoch_of(data, epoch):
            labels, mask = told(batch["image"]), batch["mask"]
            seen = mask != 255
            assert batch["image"].shape[-2:] == mask.shape[-2:] == torch.Size(data._crop)
            assert (batch["image"].movedim(1, -1)[~seen] == 0).all()  # padded with the mean, which is 0 here
            # on the borders of classes the resized pictures are between two levels
            inner = torch.nn.functional.max_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] == mask
            inner &= -torch.nn.functional.max_pool2d(-mask[:, None].float(), 3, 1, 1)[:, 0] == mask
            inner[:, [0, -1]] = inner[:, :, [0, -1]] = False  # a border may lie just outside the crop
            assert (labels[seen & inner] == mask[seen & inner]).all()
            assert (labels[seen] == mask[seen]).float().mean() > 0.5


def test_resizing_does_not_shift_the_mask_against_the_image():
    halves = np.zeros((64, 64), np.uint8)
    halves[:, 32:] = 4
    for labels in (halves, halves.T.copy()):
        picture, mask = torch.from_numpy(labels * STEP)[None].expand(3, -1, -1), torch.from_numpy(labels).long()
        for side in (16, 24, 48, 100, 128):  # 16 and 48 would be off by a pixel if the corner of a pixel decided
            image, resized = resize_pair(picture, mask, (side, side))
            assert not ((told(image[None] / 255)[0] >= 2) != (resized >= 2)).any(), side


def test_small_images_lie_anywhere_in_the_crop(write):
    folder = write(train=table([label_map(0, 4, 4) * 0 + 1] * 64), validation=table([label_map(0)]))
    data = module(folder, image_size=6, batch_size=64, augmentation=SegmentationAugmentation((1, 1), 0.5, False, 1.0))
    masks = epoch_of(data)[0]["mask"]
    assert {int((mask == 1).sum()) for mask in masks} == {16}
    corners = {tuple(np.argwhere(mask.numpy() == 1)[0]) for mask in masks}
    assert corners == {(y, x) for y in range(3) for x in range(3)}


def test_flip_is_a_mirror_image(folder):
    data = module(folder, image_size=(20, 24), augmentation=SegmentationAugmentation((1, 1), 1.0, False, 1.0))
    for batch in epoch_of(data):
        for row, mask in zip(batch["index"].tolist(), batch["mask"], strict=True):
            np.testing.assert_array_equal(mask, label_map(row)[:, ::-1])


def test_photometric_changes_the_image_alone(folder):
    vivid = SegmentationAugmentation((1, 1), 0.0, True, 1.0)
    plain, changed = module(folder), module(folder, augmentation=vivid)
    pairs = list(zip(epoch_of(plain), epoch_of(changed), strict=True))
    assert all(torch.equal(a["mask"], b["mask"]) for a, b in pairs)
    assert not all(torch.equal(a["image"], b["image"]) for a, b in pairs)
    assert all((b["image"] >= 0).all() and (b["image"] <= 1).all() for _, b in pairs)


def test_crops_of_almost_one_class_are_avoided(write):
    labels = np.zeros((100, 100), np.uint8)
    labels[:, 50:] = 1
    labels[:, 60:] = 255  # not counted
    folder = write(train=table([labels] * 64), validation=table([labels]))

    def mixed(ratio):
        augmentation = SegmentationAugmentation((1, 1), 0.0, False, ratio)
        masks = epoch_of(module(folder, augmentation=augmentation, batch_size=64))[0]["mask"]
        return sum((mask == 0).any() and 0.25 < (mask == 0).sum() / (mask < 255).sum() < 0.75 for mask in masks)

    assert mixed(0.75) > 2 * mixed(1.0)


def palette(labels):
    image = Image.fromarray(labels).copy()
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    return image


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "I"])
def test_mask_modes(mode):
    labels = label_map(3)
    kinds = {"L": np.uint8, "I;16": np.uint16, "I": np.int32}
    image = palette(labels) if mode == "P" else Image.fromarray(labels.astype(kinds[mode]))
    assert image.mode == mode
    values = [image, stored(image, "TIFF")] + ([stored(image)] if mode != "I" else [])
    for value in values:
        read = decode_mask(value, "here")
        assert read.dtype == np.int64
        np.testing.assert_array_equal(read, labels)


def test_bilevel_and_large_numbers():
    half = np.arange(64).reshape(8, 8) % 3 == 0
    np.testing.assert_array_equal(decode_mask(stored(Image.fromarray(half)), "here"), half.astype(int))
    large = np.array([[0, 300], [65535, 7]], np.uint16)
    np.testing.assert_array_equal(decode_mask(stored(Image.fromarray(large)), "here"), large)
    big_endian = Image.frombytes("I;16B", (2, 2), large.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode_mask(big_endian, "here"), large)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK", "F", "YCbCr"])
def test_masks_of_other_modes_are_refused(mode):
    with pytest.raises(
        DataError, match=rf"^row 3: the mask has mode {mode}, but .* store it with one channel"
    ) as caught:
        decode_mask(Image.new(mode, (4, 4)), "row 3")
    assert not isinstance(caught.value, BadImageError)


def test_jpeg_masks_are_refused():
    with pytest.raises(DataError, match=r"row 3: the mask is a JPEG, which changes .* store it as PNG"):
        decode_mask(stored(Image.fromarray(label_map(0)), "JPEG"), "row 3")


@pytest.mark.parametrize("content", [b"", b"broken", None])
def test_masks_that_cannot_be_read(content):
    with pytest.raises(BadImageError, match=r"^row 3: the mask cannot be read \(.*on_bad_image: skip"):
        decode_mask({"bytes": content, "path": None}, "row 3")


def test_orientation_applies_to_image_and_mask(write):
    labels = label_map(1, 12, 20)
    turned = np.rot90(labels, -1)
    rows = table([labels] * 2, [rotated(stored(Image.fromarray(labels))), stored(Image.fromarray(turned.copy()))])
    rows = rows.remove_columns("image").add_column("image", [rotated(telling(labels))] * 2)
    folder = write(train=rows.cast_column("image", datasets.Image()), validation=rows)
    data = module(folder, image_column="image", mask_column="annotation")
    (batch,) = data.val_dataloader()
    assert batch["size"].tolist() == [[20, 12]] * 2
    for image, mask in zip(batch["image"], batch["mask"], strict=True):
        np.testing.assert_array_equal(mask[:20, :12], turned)
        assert torch.equal(told(image[None])[0, :20, :12], mask[:20, :12])
    assert decode_image(rotated(telling(labels)), "here").size == (12, 20)


def test_a_mask_that_lies_across_its_image(write):
    labels = label_map(1, 12, 20)
    rows = table([labels] * 2, [stored(Image.fromarray(labels)), stored(Image.fromarray(labels.T.copy()))])
    data = module(write(train=rows, validation=rows))
    with pytest.raises(DataError, match=r"^split 'validation', row 1: the mask has 12x20 pixels, .* image has 20x12"):
        list(data.val_dataloader())


def test_label_ranges():
    labels = np.array([[0, 1], [3, 255]])
    assert LabelRange(4, 255, False).encode(labels, "").tolist() == [[0, 1], [3, 255]]
    assert LabelRange(3, 255, True).encode(labels, "").tolist() == [[255, 0], [2, 255]]
    assert LabelRange(3, -1, True).encode(np.array([[0, 3]]), "").tolist() == [[-1, 2]]
    for limits, value, stored_as in (
        (LabelRange(3, 255, False), 3, "0..2"),
        (LabelRange(2, 255, True), 3, "1..2"),
        (LabelRange(4, 254, False), 255, "0..3"),
    ):
        with pytest.raises(DataError, match=rf"^row 9: the mask holds the label {value}, .* stored as {stored_as}, "):
            limits.encode(labels, "row 9")


def test_reduce_zero_label(folder):
    data = module(folder, num_classes=CLASSES - 1, reduce_zero_label=True)
    plain = module(folder)
    for first, second in zip(plain.val_dataloader(), data.val_dataloader(), strict=True):
        expected = torch.where((first["mask"] == 0) | (first["mask"] == 255), 255, first["mask"] - 1)
        assert torch.equal(second["mask"], expected)


def test_ignore_index(folder):
    data = module(folder, ignore_index=-1)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].unique().tolist() == [-1, 0, 1, 2, 3, 4]
    data = module(folder, num_classes=4, ignore_index=4)
    assert next(iter(data.val_dataloader()))["mask"].max() == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_epochs_and_seed(folder, workers, monkeypatch):
    data = module(folder, num_workers=workers, augmentation=SegmentationAugmentation())
    first = epoch_of(data)
    assert same(first, epoch_of(module(folder, augmentation=SegmentationAugmentation())))
    other = epoch_of(data, 1)
    assert sorted(indices(first)) == sorted(indices(other)) == list(range(8))
    assert not same(first, other)
    assert len(list(data.val_dataloader())) == 2
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")
    assert not same(first, epoch_of(module(folder, augmentation=SegmentationAugmentation())))


def test_ranks_see_the_samples_of_a_single_process(folder):
    changes = {"augmentation": SegmentationAugmentation()}
    ranks = [module(folder, **changes) for _ in range(2)]
    for rank, data in enumerate(ranks):
        data.trainer = Process(rank, 2)
    for whole, *halves in zip(epoch_of(module(folder, batch_size=4, **changes)), *map(epoch_of, ranks), strict=True):
        for key in ("index", "image", "mask"):
            assert torch.equal(whole[key][0::2], halves[0][key])
            assert torch.equal(whole[key][1::2], halves[1][key])


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming(folder, workers):
    data = module(folder, streaming=True, num_workers=workers, shuffle_buffer=4)
    assert data.num_classes == CLASSES
    batches = epoch_of_stream(data)
    assert [batch["mask"].shape for batch in batches] == [(2, 16, 16)] * 4
    assert all(torch.equal(told(batch["image"]), batch["mask"]) for batch in batches)
    assert sum(len(batch["index"]) for batch in data.val_dataloader()) == 4


def epoch_of_stream(data):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(0)
    return list(loader)


def test_a_validation_split_is_taken_from_the_training_data(write):
    folder = write(train=table([label_map(row) for row in range(20)]))
    data = module(folder, val_fraction=0.2)
    rows = indices(data.val_dataloader())
    assert len(rows) == 4
    assert not set(rows) & set(indices(epoch_of(data)))


def test_bad_images_and_masks_can_be_skipped(write):
    maps = [label_map(row) for row in range(6)]
    masks = [stored(Image.fromarray(labels)) for labels in maps]
    masks[2]["bytes"] = masks[2]["bytes"][:50]
    folder = write(train=table(maps), validation=table(maps, masks))
    with pytest.raises(DataError, match=r"^split 'validation', row 2: the mask cannot be read"):
        list(module(folder).val_dataloader())
    data = module(folder, on_bad_image="skip")
    assert indices(data.val_dataloader()) == [0, 1, 3, 4, 5]
    assert data.skipped["validation"].rows == {2}


def test_predict_takes_missing_masks_as_ignored(write):
    maps = [label_map(row) for row in range(3)]
    masks = [stored(Image.fromarray(maps[0])), None, stored(Image.fromarray(maps[2]))]
    folder = write(train=table(maps), validation=table(maps), test=table(maps, masks))
    data = module(folder, "predict", eval_batch_size=3)
    (batch,) = data.predict_dataloader()
    assert [bool((mask == 255).all()) for mask in batch["mask"]] == [False, True, False]
    data.setup("test")
    with pytest.raises(DataError, match=r"^split 'test', row 1: the mask is missing; remove the row or label it"):
        list(data.test_dataloader())


def test_predict_without_any_masks(write):
    folder = write(test=table([label_map(0)]).remove_columns("annotation"))
    data = module(folder, "predict")
    assert (next(iter(data.predict_dataloader()))["mask"] == 255).all()
    with pytest.raises(DataError, match=r"mask_column: cannot tell which column holds the masks"):
        data.setup("test")


def test_a_split_without_masks(write):
    maps = [label_map(row) for row in range(3)]
    bare = table(maps).remove_columns("annotation")
    with pytest.raises(DataError, match=r"^split 'validation' has no column 'annotation'; name a split with masks"):
        module(write(train=table(maps), validation=bare))


@pytest.mark.parametrize("column", ["mask", "label", "segmentation", "annotation", "anything"])
def test_the_only_other_image_column_is_the_mask(write, column):
    rows = table([label_map(row) for row in range(3)], mask=column, label_name=["x"] * 3)
    data = module(write(train=rows, validation=rows))
    assert data._mask_column == column


def test_guessing_among_several_columns(write):
    rows = table([label_map(row) for row in range(3)])
    rows = rows.add_column("depth", [telling(label_map(0))] * 3).cast_column("depth", datasets.Image())
    folder = write(train=rows, validation=rows)
    assert module(folder)._mask_column == "annotation"
    assert module(folder, mask_column="depth")._mask_column == "depth"
    rows = rows.rename_column("annotation", "other")
    with pytest.raises(DataError, match=r"mask_column: cannot tell which column holds the masks .*; set it"):
        module(write(train=rows, validation=rows))


def test_names_from_id2label(folder):
    names = {str(number): name for number, name in enumerate("abcde")}
    (Path(folder) / "id2label.json").write_text(json.dumps({**names, "255": "unlabelled"}))
    assert module(folder, num_classes=None).class_names == list("abcde")
    with pytest.raises(ConfigError, match=r"num_classes: 4 given, but id2label\.json names 5 classes; leave it out"):
        module(folder, num_classes=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"does not name the classes; write"),
        ('["a", "b"]', r"does not name the classes; write"),
        ('{"a": 0, "b": 1}', r"does not name the classes; write"),
        ("{}", r"must name classes by their stored numbers"),
        ('{"-1": "a", "0": "b"}', r"must name classes by their stored numbers"),
        ('{"0": "a", "70000": "b"}', r"must name classes by their stored numbers"),
        ('{"1": "a", "01": "b"}', r"names a class twice"),
    ],
)
def test_bad_names(folder, content, message):
    (Path(folder) / "id2label.json").write_text(content)
    with pytest.raises(DataError, match=rf"id2label\.json: {message}"):
        module(folder, num_classes=None)


def test_names_from_the_data_set_or_numbers(write, folder):
    assert module(folder).class_names == ["0", "1", "2", "3", "4"]
    with pytest.raises(DataError, match=r"num_classes: nothing names the classes of .*; set it, or write id2label"):
        module(folder, num_classes=None)
    listed = [datasets.ClassLabel(names=["sky", "sea", "sand"])]
    rows = table([label_map(row, classes=3) for row in range(3)], classes=[[0, 1, 2]] * 3)
    rows = rows.cast(datasets.Features({**rows.features, "classes": listed}))
    folder = write(train=rows, validation=rows)
    assert module(folder, num_classes=None).class_names == ["sky", "sea", "sand"]
    assert module(folder, num_classes=None, reduce_zero_label=True).class_names == ["sea", "sand"]


def test_classes_before_setup():
    with pytest.raises(ConfigError, match="call setup"):
        _ = SegmentationDataModule().num_classes


def test_scenes_belong_to_digit_scenes(folder):
    with pytest.raises(ConfigError, match=r"data\.init_args\.scenes: .* is for the data set digit_scenes; leave it"):
        module(folder, scenes=Scenes(seed=1))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_classes", 0),
        ("image_size", 0),
        ("image_size", (16, 0)),
        ("image_size", (16, 16, 16)),
        ("eval_size", 0),
        ("mean", (0.5, 0.5)),
        ("std", (0.5, 0.5, 0.0)),
        ("batch_size", 0),
        ("config_name", "x"),
    ],
)
def test_bad_arguments_are_refused_at_once(argument, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.{argument}: ") as caught:
        SegmentationDataModule(**{argument: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", (0.0, 1.0)),
        ("scale", (2.0, 1.0)),
        ("scale", (1.0, float("inf"))),
        ("scale", (1.0,)),
        ("flip", 1.5),
        ("cat_max_ratio", 0.0),
        ("cat_max_ratio", 1.5),
    ],
)
def test_bad_fields_are_named(field, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.augmentation\.{field}: ") as caught:
        SegmentationAugmentation(**{field: value})
    assert repr(value) in str(caught.value)


def test_ignore_index_is_no_class(folder):
    with pytest.raises(ConfigError, match=r"ignore_index: 4 is one of the 5 classes; choose a number outside 0\.\.4"):
        module(folder, ignore_index=4)


@pytest.mark.skipif(
    "BIFORMER_LIT_TEST_DATA" not in os.environ, reason="BIFORMER_LIT_TEST_DATA, a folder with camvid, is not set"
)
def test_real_photos():
    data = module(f"{os.environ['BIFORMER_LIT_TEST_DATA']}/camvid", num_classes=None, image_size=(128, 160))
    assert data.class_names[:2] == ["Sky", "Building"]
    assert [data.num_rows(part) for part in ("train", "validation")] == [367, 101]
    batch = next(iter(data.train_dataloader()))
    assert torch.isfinite(batch["image"]).all()
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (2, 3, 384, 480)
    assert set(batch["mask"].unique().tolist()) <= {*range(11), 255}
