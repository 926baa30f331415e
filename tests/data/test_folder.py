"""How a folder becomes splits and classes, whatever its files are called."""

import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from biformer_lit.data import ClassificationDataModule, DetectionDataModule, SegmentationDataModule
from biformer_lit.data.folder import open_folder
from biformer_lit.data.folder.splits import divide_images, divide_shards, usual_split
from biformer_lit.errors import ConfigError, DataError


@pytest.fixture
def fill(tmp_path):
    """Put small images, and other files, into a folder; what is a number in a name counts them."""

    def put(*names, folder="pets", colour=(9, 9, 9)):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() in {".jpg", ".png"}:
                Image.new("RGB", (8, 8), colour).save(path)
            else:
                path.write_bytes(b"something")
        return tmp_path / folder

    return put


def classes(folder, stage="fit", **settings):
    data = ClassificationDataModule(dataset=str(folder), batch_size=2, image_size=8, num_workers=0, **settings)
    data.setup(stage)
    return data


def rows_of(folder, **settings):
    return {name: len(list(table)) for name, table in open_folder(folder, **settings).items()}


def several(pattern, count=4):
    return [pattern.format(number) for number in range(count)]


def divided(*names):
    return {split: len(found) for split, found in divide_images(names).splits.items()}


@pytest.mark.parametrize("streaming", [False, True])
def test_words_in_file_names_mean_nothing(fill, streaming):
    names = [
        f"{name}/{name}{word}{number}.jpg"
        for name in ("cat", "dog")
        for word in ("-train-", "_", "-test-shot-", "-val ")
        for number in range(3)
    ]
    assert rows_of(fill(*names), streaming=streaming) == {"train": 24}


@pytest.mark.parametrize("name", ["train", "test", "val", "dev", "validation", "eval", "crash-test", "Test 1"])
def test_a_class_folder_is_no_split(fill, name):
    folder = fill(*several(f"{name}/{{}}.jpg", 12), *several("car/{}.jpg", 12), *several("bus/{}.jpg", 12))
    data = classes(folder)
    assert data.class_names == sorted(["car", "bus", name])
    assert data.num_rows("train") + data.num_rows("validation") == 36


def test_classes_called_like_splits_within_splits(fill):
    folder = fill(
        *several("train/train/{}.jpg"),
        *several("train/car/{}.jpg"),
        *several("test/train/{}.jpg", 2),
        *several("test/car/{}.jpg", 2),
    )
    assert rows_of(folder) == {"test": 4, "train": 8}
    assert classes(folder, "test").class_names == ["car", "train"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train/cat/1.jpg", "val/cat/1.jpg", "test/cat/1.jpg"], {"train": 1, "validation": 1, "test": 1}),
        (["Train/cat/1.jpg", "VALID/cat/1.jpg"], {"train": 1, "validation": 1}),
        (["train_images/cat/1.jpg", "test_images/1.jpg"], {"train": 1, "test": 1}),
        (["train2017/1.jpg", "val2017/2.jpg"], {"train": 1, "validation": 1}),
        (["train_a/cat/1.jpg", "train_b/cat/2.jpg"], {"train": 2}),
        (["train/cat/1.jpg", "val/cat/1.jpg", "dev/cat/1.jpg"], {"train": 1, "val": 1, "dev": 1}),
        (["train/cat/1.jpg", "test/cat/1.jpg", "eval/cat/1.jpg"], {"train": 1, "test": 1, "eval": 1}),
        (["train/cat/1.jpg", "extra/cat/1.jpg"], {"train": 1, "extra": 1}),
        (["data/train/cat/1.jpg", "data/test/cat/1.jpg"], {"train": 1, "test": 1}),
        (["test-data/train/cat/1.jpg", "test-data/val/cat/1.jpg"], {"train": 1, "validation": 1}),
        (["images/train/1.jpg", "images/val/1.jpg"], {"train": 1, "validation": 1}),
        (["train/1.jpg", "test/1.jpg"], {"train": 1, "test": 1}),
        (["train/cat/1.jpg", "train/dog/1.jpg"], {"train": 2}),
        (["train/test/1.jpg", "train/dog/1.jpg"], {"train": 2}),
        (["cat/1.jpg", "dog/train-1.jpg"], {"train": 2}),
        (["train-1.jpg", "test-1.jpg", "2.jpg"], {"train": 3}),
        (["a/b/c/1.jpg", "a/b/d/1.jpg"], {"train": 2}),
        (["train_test/cat/1.jpg", "dog/cat/1.jpg"], {"train": 2}),
    ],
)
def test_folders_at_the_top_name_splits(names, splits):
    assert divided(*names) == splits


@pytest.mark.parametrize(
    ("names", "splits", "unnamed"),
    [
        (["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"], ["train", "test"], []),
        (["data/train-00000-of-00001.parquet", "data/extra-00000-of-00001.parquet"], ["train", "extra"], []),
        (["train/0.parquet", "validation/0.parquet"], ["train", "validation"], []),
        (["pets_train.parquet", "pets_val.parquet"], ["train", "validation"], []),
        (["a.parquet", "b.parquet"], ["train"], []),
        (["train.parquet", "more.parquet"], ["train"], ["more.parquet"]),
        (["contest.parquet", "trainer.parquet"], ["train"], []),
    ],
)
def test_shards(names, splits, unnamed):
    shards = divide_shards(names)
    assert list(shards.splits) == splits
    assert shards.unnamed == unnamed


def test_usual_names_of_splits():
    assert [usual_split(name) for name in ("train", "Val", "my-test_set", "contest", "train-test", "restrain")] == [
        *("train", "validation", "test", None, None, None)
    ]


def test_what_is_not_used_is_named(fill, caplog):
    folder = fill(
        *several("cat/{}.jpg", 10),
        *several("dog/{}.png", 10),
        "cat/a.heic",
        "dog/b.svg",
        "dog/c.jgp",
        "fish/1.heic",
        "cat/.hidden.jpg",
    )
    (folder / "cat/Thumbs.db").write_bytes(b"litter")
    data = classes(folder)
    assert data.num_rows("train") + data.num_rows("validation") == 20
    assert len(caplog.messages) == 1
    told = caplog.messages[0]
    assert "5 of 25 files are not used" in told
    for part in (
        "2 .heic files (cat/a.heic, fish/1.heic)",
        "dog/b.svg",
        "dog/c.jgp",
        "1 hidden (cat/.hidden.jpg)",
        "no image can be read in fish",
    ):
        assert part in told
    assert "Thumbs" not in told


def test_nothing_is_said_if_all_is_used(fill, caplog):
    classes(fill(*several("cat/{}.jpg", 10), *several("dog/{}.jpg", 10), "README.md", "LICENSE"))
    assert caplog.messages == []


def test_shards_that_are_missing_or_named_like_no_split(make_table, write, caplog):
    folder = write(shards=3, train=make_table(60), test=make_table(9))
    make_table(3).to_parquet(f"{folder}/more.parquet")
    Path(folder, "train-00001-of-00003.parquet").unlink()
    data = classes(folder)
    assert data.num_rows("train") + data.num_rows("validation") == 40
    assert "1 of 6 files are not used: 1 named like no split, beside others that are (more.parquet)" in caplog.text
    assert "only 2 of the 3 files train-*-of-00003 are there" in caplog.text


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("task", [ClassificationDataModule, SegmentationDataModule, DetectionDataModule])
@pytest.mark.parametrize(
    "names",
    [
        several("{}.jpg", 7),
        [*several("cat/{}.jpg", 4), *several("dog/{}.jpg", 3)],
        [*several("2020/01/{}.jpg", 4), *several("2021/{}.jpg", 2), "a.jpg"],
        several("train/{}.jpg", 7),
        [*several("train/cat/{}.jpg", 5), *several("test/{}.jpg", 7)],
        [*several("train/cat/{}.jpg", 5), *several("val/cat/{}.jpg", 7)],
    ],
)
def test_predict_means_every_image(fill, task, names, streaming):
    data = task(dataset=str(fill(*names)), batch_size=2, num_workers=0, image_size=8, streaming=streaming)
    data.setup("predict")
    assert sum(len(batch["index"]) for batch in data.predict_dataloader()) == 7


def test_which_split_is_predicted(fill):
    folder = fill(*several("train/cat/{}.jpg", 5), *several("extra/cat/{}.jpg", 3))
    with pytest.raises(DataError, match=r"predict_split: which split is to be predicted\? there are extra, train"):
        classes(folder, "predict")
    assert classes(folder, "predict", predict_split="extra").num_rows("predict") == 3
    with pytest.raises(ConfigError, match=r"data\.init_args\.predict_split: no split 'x'"):
        classes(folder, "predict", predict_split="x")
    fill(*several("test/cat/{}.jpg", 2), *several("val/cat/{}.jpg", 1))
    assert classes(folder, "predict").num_rows("predict") == 2
    assert classes(folder, "predict", predict_split="validation").num_rows("predict") == 1


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_flat_folder_has_no_classes(fill, stage):
    settings = {"test_split": "train"} if stage == "test" else {}
    with pytest.raises(DataError, match=r"^the images lie in no class folders; put those of each class into a folder"):
        classes(fill(*several("{}.jpg", 7)), stage, **settings)


def test_folders_within_folders_are_not_guessed(fill):
    folder = fill(
        *[f"{name}/{day}/{number}.jpg" for name in ("cat", "dog") for day in ("mon", "tue") for number in range(9)]
    )
    with pytest.raises(DataError, match=r"'cat/mon/0\.jpg' .*may be 'cat' or 'mon'; set data\.init_args\.class_folder"):
        classes(folder)
    assert classes(folder, class_folder="first").class_names == ["cat", "dog"]
    assert classes(folder, class_folder="last").class_names == ["mon", "tue"]


@pytest.mark.parametrize("pair", [("JPEGImages", "SegmentationClass"), ("images", "masks"), ("imgs", "labels")])
@pytest.mark.parametrize("task", [ClassificationDataModule, SegmentationDataModule, DetectionDataModule])
def test_photos_and_masks_apart_are_not_classes(fill, task, pair):
    folder = fill(
        *several(f"{pair[0]}/{{}}.jpg"), *several(f"{pair[1]}/{{}}.png"), "Annotations/1.xml", "ImageSets/all.txt"
    )
    data = task(dataset=str(folder), num_workers=0)
    for stage in ("fit", "predict"):
        with pytest.raises(DataError, match=rf"holds photos \({pair[0]}\) and label maps .*metadata\.jsonl") as caught:
            data.setup(stage)
        assert " object at 0x" not in str(caught.value)


def test_a_folder_of_annotations_alone(fill):
    with pytest.raises(
        DataError, match=r"cannot be opened as a data set \(it holds 1 \.xml files \(Annotations/1\.xml\)\)"
    ):
        open_folder(fill("Annotations/1.xml"))


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_metadata_with_masks_in_other_folders(fill, caplog):
    folder = fill(
        *several("images/train/{}.jpg"),
        *several("images/val/{}.jpg", 2),
        *several("masks/{}.png"),
        "images/train/x.jpg",
    )
    rows = [
        {"file_name": f"images/{split}/{number}.jpg", "mask_file_name": f"masks/{number}.png"}
        for split, count in (("train", 4), ("val", 2))
        for number in range(count)
    ]
    write_lines(folder / "metadata.jsonl", rows)
    splits = open_folder(folder)
    assert {name: len(table) for name, table in splits.items()} == {"train": 4, "validation": 2}
    assert set(splits["train"].features) == {"image", "mask"}
    data = SegmentationDataModule(dataset=str(folder), num_classes=20, num_workers=0, image_size=8)
    data.setup("fit")
    with pytest.raises(DataError, match="mask has mode RGB"):  # which shows that it was found and read
        next(iter(data.val_dataloader()))
    assert "1 named by no row of metadata.jsonl (images/train/x.jpg)" in caplog.text


def test_metadata_of_each_split(fill, caplog):
    folder = fill(*several("train/{}.jpg", 6), *several("test/{}.jpg", 2))
    for split, count in (("train", 6), ("test", 2)):
        lines = [f"{number}.jpg,{'NA' if number % 2 else 'cat'}\n" for number in range(count)]
        (folder / split / "metadata.csv").write_text("file_name,label\n" + "".join(lines))
    data = classes(folder, "test")
    assert data.class_names == ["NA", "cat"]
    assert data.num_rows("test") == 2
    (folder / "test/0.jpg").unlink()
    with pytest.raises(DataError, match=r"split 'test', row 0 .*: the image cannot be read .*0\.jpg"):
        list(classes(folder, "test").test_dataloader())
    assert "names 1 files that are not there" in caplog.text


def test_lists_of_images_in_metadata(fill):
    folder = fill("a.jpg", "m1.png", "m2.png")
    row = {
        "file_name": "a.jpg",
        "objects": [{"mask_file_name": "m1.png", "category": 0}, {"mask_file_name": "m2.png", "category": 1}],
        "views_file_names": ["m1.png"],
    }
    write_lines(folder / "metadata.jsonl", [row])
    table = open_folder(folder)["train"]
    assert [item["mask"].size for item in table[0]["objects"]] == [(8, 8), (8, 8)]
    assert table[0]["views"][0].size == (8, 8)


CARD = """---
configs:
- config_name: one
  data_files:
  - split: train
    path: a/**
  - split: test
    path: [b/dog, b/cat/9.jpg]
- config_name: two
  data_files: b/*/*.jpg
dataset_info:
- config_name: one
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': fish
          '1': dog
          '2': cat
---
# Pets
"""


def test_a_card_divides_files_and_names_classes(fill):
    folder = fill(*several("a/cat/{}.jpg"), *several("b/dog/{}.jpg", 2), "b/cat/9.jpg")
    (folder / "README.md").write_text(CARD)
    with pytest.raises(ConfigError, match=r"config_name: .* has the configurations one, two; name one"):
        open_folder(folder)
    with pytest.raises(ConfigError, match="config_name: no configuration 'three'"):
        open_folder(folder, "three")
    splits = open_folder(folder, "one")
    assert {name: table["label"][:] for name, table in splits.items()} == {"train": [2] * 4, "test": [1, 1, 2]}
    assert splits["train"].features["label"].names == ["fish", "dog", "cat"]
    assert rows_of(folder, config_name="two") == {"train": 3}


AWKWARD = [
    "d[1]",
    "d*",
    "what?",
    "a::b",
    "zip::file",
    "{x}",
    "100%#1",
    "with space",
    "写真",
    "http:",
    "hf:",
    "d[",
    "~x",
    "a\\b",
    "$HOME",
]


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_path_is_a_path(fill, make_table, monkeypatch, tmp_path, name, streaming):
    neighbour = fill(*several("cat/{}.jpg", 9), folder="d1")
    fill(*several("cat/{}.jpg", 9), folder="dd")
    images = fill(f"cat/{name}.jpg", f"{name}/1.jpg", "dog/1.jpg", folder=name)
    assert rows_of(images, streaming=streaming) == {"train": 3}
    (saved := tmp_path / "saved").mkdir()
    datasets.DatasetDict({"train": make_table(5)}).save_to_disk(tmp_path / "plain")
    (tmp_path / "plain").rename(saved / name)
    assert rows_of(saved / name, streaming=streaming) == {"train": 5}
    (parquet := tmp_path / "parquet" / name).mkdir(parents=True)
    make_table(4).to_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").rename(parquet / f"{name}.parquet")
    assert rows_of(parquet, streaming=streaming) == {"train": 4}
    monkeypatch.chdir(tmp_path)
    data = ClassificationDataModule(dataset=f"./{name}", num_workers=0, image_size=8, streaming=streaming)
    data.setup("predict")
    assert sum(len(batch["index"]) for batch in data.predict_dataloader()) == 3
    assert neighbour.is_dir()


def test_folders_that_are_no_classes_do_not_hinder_prediction(fill):
    folder = fill(*several("monday/{}.jpg"), *several("tuesday/{}.jpg"))
    data = classes(folder, "predict")
    data.release_folders(["cat", "monday"], 2)  # one that the network knows: then they are classes
    assert data.own_class_names == ["monday", "tuesday"]
    data.release_folders([], 2)  # nothing names the network's classes, but these are as many
    assert data.own_class_names == ["monday", "tuesday"]
    data.release_folders(["cat", "dog"], 2)
    with pytest.raises(ConfigError, match=r"the folders \(monday, tuesday\) are called like none of the network's"):
        data.own_class_names  # noqa: B018
    assert [batch["label"].tolist() for batch in data.predict_dataloader()] == [[-1, -1]] * 4
