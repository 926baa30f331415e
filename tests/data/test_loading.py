import re

import datasets
import pytest
from PIL import Image

from biformer_lit.data import ClassificationDataModule
from biformer_lit.data.columns import find_image_column, find_label_column
from biformer_lit.data.loading import find_split, load_splits
from biformer_lit.errors import ConfigError, DataError

IMAGE, CLASSES = datasets.Image(), datasets.ClassLabel(names=["a", "b"])


def column(kind):
    return datasets.Value(kind)


@pytest.fixture
def no_hub(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a local data set was looked up on the hub")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", refuse)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.usefixtures("no_hub")
def test_parquet(make_table, write, streaming):
    folder = write(train=make_table(9), test=make_table(4))
    splits = load_splits(folder, streaming=streaming)
    assert {name: len(list(split)) for name, split in splits.items()} == {"train": 9, "test": 4}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.usefixtures("no_hub")
def test_save_to_disk(make_table, tmp_path, streaming):
    both = datasets.DatasetDict({"train": make_table(9), "dev": make_table(5)})
    both.save_to_disk(tmp_path / "both")
    make_table(6).save_to_disk(tmp_path / "one")
    splits = load_splits(str(tmp_path / "both"), streaming=streaming)
    assert {name: len(list(split)) for name, split in splits.items()} == {"train": 9, "dev": 5}
    assert [len(list(split)) for split in load_splits(str(tmp_path / "one"), streaming=streaming).values()] == [6]


@pytest.mark.usefixtures("no_hub")
def test_image_folder(tmp_path, monkeypatch):
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (6, 6), (number, 0, 0)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    data = ClassificationDataModule(dataset="pets", batch_size=2, image_size=6, num_workers=0)
    data.setup("fit")
    assert data.class_names == ["cat", "dog"]
    assert (data.num_rows("train"), data.num_rows("validation")) == (8, 4)
    labels = [label for batch in data.val_dataloader() for label in batch["label"].tolist()]
    assert labels == [0, 0, 1, 1]


def test_cast_from_binary_and_from_bare_structs(make_table, tmp_path):
    content = [row["image"] for row in make_table(12).cast_column("image", datasets.Image(decode=False))]
    labels = [row % 2 for row in range(12)]
    for name, images in (("binary", [value["bytes"] for value in content]), ("struct", content)):
        (tmp_path / name).mkdir()
        table = datasets.Dataset.from_dict({"img": images, "label": labels})
        table.to_parquet(tmp_path / name / "train.parquet")
        data = ClassificationDataModule(dataset=str(tmp_path / name), batch_size=2, image_size=8, num_workers=0)
        data.setup("fit")
        assert next(iter(data.train_dataloader()))["image"].shape == (2, 3, 8, 8)


@pytest.mark.parametrize("name", ["./nothing", "/nothing/here", "../nothing", "~/nothing", "no such name"])
@pytest.mark.usefixtures("no_hub")
def test_a_missing_folder_is_not_looked_up(name):
    with pytest.raises(DataError, match=r"^data\.init_args\.dataset: the folder .* does not exist"):
        load_splits(name)


def test_hub_offline_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot be loaded from the Hugging Face hub") as caught:
        load_splits("somebody/something")
    assert "\n" not in str(caught.value)
    assert "HF_HUB_OFFLINE" in str(caught.value)


def test_folders_that_are_no_data_set(tmp_path, make_table, write):
    with pytest.raises(DataError, match="must hold Parquet files"):
        load_splits(str(tmp_path))
    folder = write(train=make_table(3))
    with pytest.raises(DataError, match="is a file; give the folder"):
        load_splits(f"{folder}/train-00000-of-00001.parquet")
    data = ClassificationDataModule(
        dataset=write(train=make_table(30), test=make_table(0)), batch_size=2, num_workers=0
    )
    data.setup("fit")
    with pytest.raises(DataError, match=r"split 'test' of .* is empty"):
        data.setup("test")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be opened as a data set") as caught:
        load_splits(str(tmp_path / "damaged"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "validation", "test"),
    [
        (["train", "validation", "test"], "validation", "test"),
        (["train", "val", "testing"], "val", "testing"),
        (["train", "dev"], "dev", None),
        (["train", "extra"], None, None),
    ],
)
def test_split_names(names, validation, test):
    assert find_split("validation", None, names) == validation
    assert find_split("test", None, names) == test
    assert find_split("validation", "train", names) == "train"


@pytest.mark.parametrize(
    ("kind", "argument"), [("train", "train_split"), ("validation", "val_split"), ("test", "test_split")]
)
def test_unknown_split_lists_the_known(kind, argument):
    with pytest.raises(ConfigError, match=rf"data\.init_args\.{argument}: no split 'x'; the data set has one, two"):
        find_split(kind, "x", ["one", "two"])


@pytest.mark.parametrize(
    ("features", "image", "label"),
    [
        ({"anything": IMAGE, "whatever": CLASSES, "id": column("int64")}, "anything", "whatever"),
        ({"img": IMAGE, "mask": IMAGE, "fine_label": column("int64")}, "img", "fine_label"),
        ({"image": column("binary"), "target": column("string")}, "image", "target"),
        ({"image": IMAGE, "coarse": CLASSES, "label": CLASSES}, "image", "label"),
    ],
)
def test_columns_are_guessed(features, image, label):
    features = datasets.Features(features)
    assert find_image_column(features, None) == image
    assert find_label_column(features, None) == label


def test_columns_that_cannot_be_guessed_are_listed():
    features = datasets.Features({"left": IMAGE, "right": IMAGE, "a": column("int64")})
    for find, argument in ((find_image_column, "image_column"), (find_label_column, "label_column")):
        with pytest.raises(DataError, match=rf"data\.init_args\.{argument}: .*left \(Image\).*a \(int64\)"):
            find(features, None)
        with pytest.raises(ConfigError, match=rf"data\.init_args\.{argument}: no column 'b'"):
            find(features, "b")
    assert find_image_column(features, "right") == "right"
    with pytest.raises(DataError, match=re.escape("column 'a' holds int64, not images")):
        find_image_column(features, "a")
