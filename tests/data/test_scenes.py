import dataclasses

import datasets
import numpy as np
import pytest

from biformer_lit.data import ClassificationDataModule, Scenes
from biformer_lit.data.embedded import scenes as module
from biformer_lit.data.embedded.digits import load_digits_dataset
from biformer_lit.data.embedded.scenes import CLASS_NAMES, load_scenes
from biformer_lit.data.loading import load_splits
from biformer_lit.errors import ConfigError, DataError

SMALL = Scenes(train=12, validation=3, test=4)


def pictures(table, column="image"):
    return [np.asarray(image) for image in table[column]]


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_columns_sizes_and_modes():
    splits = load_scenes(SMALL)
    assert {name: len(table) for name, table in splits.items()} == {"train": 12, "validation": 3, "test": 4}
    row = splits["train"][0]
    assert (row["image"].mode, row["image"].size) == ("RGB", (96, 96))
    assert (row["annotation"].mode, row["annotation"].size) == ("L", (96, 96))
    assert (row["image_id"], row["width"], row["height"]) == (0, 96, 96)
    features = splits["train"].features
    assert features["classes"].feature.names == list(CLASS_NAMES) == ["background", *map(str, range(10))]
    assert features["objects"]["category"].feature.names == list(CLASS_NAMES[1:])
    assert splits["test"]["image_id"][:] == [0, 1, 2, 3]


def test_the_same_settings_give_the_same_bytes_and_others_do_not():
    first, second = load_scenes(SMALL), load_scenes.__wrapped__(SMALL)
    assert load_scenes(Scenes(train=12, validation=3, test=4)) is first
    for name in first:
        stored = [table.cast_column("image", datasets.Image(decode=False)) for table in (first[name], second[name])]
        assert stored[0]["image"][:] == stored[1]["image"][:]
        assert (
            first[name]
            .remove_columns(["image", "annotation"])
            .data.table.equals(second[name].remove_columns(["image", "annotation"]).data.table)
        )
    other = load_scenes(dataclasses.replace(SMALL, seed=1))
    for name in ("train", "test"):
        assert not any(np.array_equal(a, b) for a, b in zip(pictures(first[name]), pictures(other[name]), strict=True))
    assert not np.array_equal(pictures(first["train"])[0], pictures(first["test"])[0])


def test_more_scenes_begin_with_the_same_ones():
    more = load_scenes(dataclasses.replace(SMALL, train=14))
    assert equal(pictures(more["train"])[:12], pictures(load_scenes(SMALL)["train"]))


def test_label_map_masks_and_boxes_agree():
    ids = []
    for row in load_scenes(SMALL)["train"]:
        labels, objects = np.asarray(row["annotation"]), row["objects"]
        masks = np.stack([np.asarray(mask) for mask in objects["segmentation"]])
        assert masks.dtype == bool
        assert masks.shape[1:] == labels.shape
        assert masks.sum(0).max() == 1  # what is seen of one digit is not seen of another
        drawn = sum(mask * (category + 1) for mask, category in zip(masks, objects["category"], strict=True))
        np.testing.assert_array_equal(drawn, labels)
        assert 2 <= len(masks) <= 4
        for mask, (x, y, width, height), area in zip(masks, objects["bbox"], objects["area"], strict=True):
            inside = mask[int(y) : int(y + height), int(x) : int(x + width)]
            assert inside.sum() == mask.sum() == area > 0
            assert all(inside.take(edge, axis).any() for axis in (0, 1) for edge in (0, -1))
        assert objects["iscrowd"] == [0] * len(masks)
        assert row["classes"] == np.unique(labels).tolist()
        ids += objects["id"]
    assert ids == list(range(1, len(ids) + 1))


def test_digits_keep_their_division(monkeypatch):
    seen = []
    make = module.make_scene
    monkeypatch.setattr(module, "make_scene", lambda s, digits, rng: seen.append(digits) or make(s, digits, rng))
    load_scenes.__wrapped__(Scenes(train=1, validation=1, test=1))
    for (images, labels), table in zip(seen, load_digits_dataset().values(), strict=True):
        assert equal(images, pictures(table))
        assert labels.tolist() == table["label"][:]


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5])
def test_no_digit_is_hidden_more_than_allowed(overlap, monkeypatch):
    whole = []
    draw = module._on_canvas
    monkeypatch.setattr(module, "_on_canvas", lambda *key: whole.append(draw(*key)) or whole[-1])
    crowded, digits = Scenes(digits=(5, 5), digit_size=(24, 48), overlap=overlap), module.load_digits_dataset()["train"]
    digits = np.stack(pictures(digits)), np.array(digits["label"])
    hidden = []
    for seed in range(8):
        whole.clear()
        for mask in module.make_scene(crowded, digits, np.random.default_rng(seed)).masks:
            share = [1 - mask.sum() / full.sum() for full in whole if full[mask].all()]
            hidden.append(min(share))
    assert max(hidden) <= overlap
    assert (max(hidden) > 0) == (overlap > 0)


def test_without_clutter_the_background_is_plain():
    plain = load_scenes(dataclasses.replace(SMALL, clutter=0.0))["train"]
    for image, labels in zip(pictures(plain), pictures(plain, "annotation"), strict=True):
        _, counts = np.unique(image[labels == 0], axis=0, return_counts=True)
        assert counts.max() > 0.75 * counts.sum()  # the rest are soft edges of digits
        assert len(np.unique(image[labels > 0], axis=0)) > 1
    busy = load_scenes(dataclasses.replace(SMALL, clutter=1.0))["train"]
    assert np.mean([image.std() for image in pictures(busy)]) > 10


def test_sizes_of_scenes_and_digits():
    table = load_scenes(Scenes(image_size=64, digits=(1, 1), digit_size=(40, 40), rotation=0, train=3))["train"]
    for row in table:
        assert row["image"].size == (64, 64)
        assert 32 <= row["objects"]["bbox"][0][3] <= 42  # a digit fills all eight rows of its square, or nearly


def test_opened_like_any_data_set(tmp_path):
    splits = load_splits("digit_scenes", options={"scenes": SMALL})
    assert set(splits) == {"train", "validation", "test"}
    streamed = load_splits("digit_scenes", streaming=True, options={"scenes": SMALL})
    assert [row["image_id"] for row in streamed["validation"]] == [0, 1, 2]
    splits["train"].to_parquet(tmp_path / "train.parquet")
    again = load_splits(str(tmp_path))["train"]
    assert again.features == splits["train"].features
    assert again[3]["objects"]["segmentation"][0].mode == "1"


def test_scenes_have_no_class():
    with pytest.raises(DataError, match="cannot tell which column holds the labels"):
        ClassificationDataModule(dataset="digit_scenes", num_workers=0).setup("fit")


def test_digits_that_find_no_place(monkeypatch):
    monkeypatch.setattr(module, "_place", lambda *_: None)
    with pytest.raises(ConfigError, match=r"data\.init_args\.scenes\.digits: \(2, 4\) digits of 28 pixels .* lower"):
        load_scenes.__wrapped__(SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 0),
        ("image_size", 100),
        ("digits", (0, 3)),
        ("digits", (3, 2)),
        ("digits", (2, 20)),
        ("digit_size", (4, 20)),
        ("digit_size", (24, 80)),
        ("rotation", 200.0),
        ("overlap", 1.0),
        ("overlap", -0.1),
        ("clutter", 1.5),
        ("train", 0),
        ("validation", 0),
        ("test", -1),
        ("seed", -1),
    ],
)
def test_bad_fields_are_named(field, value):
    with pytest.raises(ConfigError, match=rf"^data\.init_args\.scenes\.{field}: ") as caught:
        Scenes(**{field: value})
    assert repr(value) in str(caught.value)


def test_lists_do_for_pairs():
    assert Scenes(digits=[2, 4], digit_size=[28, 48]) == Scenes()
    assert hash(Scenes(digits=[2, 4])) == hash(Scenes())
