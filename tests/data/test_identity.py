"""Rows, files and keys identify the same image for every loader."""

import datasets
import pytest
from PIL import Image

from biformer_lit.data import ClassificationDataModule, DetectionDataModule
from biformer_lit.data.identity import Identity, path_inside
from biformer_lit.data.labels import find_classes, stored_column
from biformer_lit.data.streams import ROW, UNKNOWN_STRIDE, Shards, describe_row, find_shards, number_rows
from biformer_lit.detection.category_ids import stored_category_ids
from biformer_lit.detection.object_reading import find_fields
from biformer_lit.errors import DataError

from .conftest import picture
from .test_classification import Process

ROWS = 11
CLASS = datasets.ClassLabel(names=["ant", "bee", "cat"])


def table(rows=ROWS, bad=(), **columns):
    content = [picture(row) | {"path": f"{row}.png"} for row in range(rows)]
    for row in bad:
        content[row] = {"bytes": b"broken", "path": f"{row}.png"}
    values = {"image": content, "label": [row % 3 for row in range(rows)], **columns}
    return datasets.Dataset.from_dict(values).cast_column("image", datasets.Image()).cast_column("label", CLASS)


def module(folder, **changes):
    settings = {"batch_size": 2, "image_size": 8, "num_workers": 0, "mean": (0, 0, 0), "std": (1, 1, 1), "crop_pct": 1}
    return ClassificationDataModule(**{"dataset": str(folder), **settings, **changes})


def seen(loader):
    """Row, file, number and the grey level that tells the true row, of each image."""
    return sorted(
        (index, file, image_id, round(float(image.mean()) * 255))
        for batch in loader
        for index, file, image_id, image in zip(
            batch["index"].tolist(), batch["file"], batch.get("image_id", [None] * 9), batch["image"], strict=False
        )
    )


@pytest.mark.parametrize(
    ("streaming", "workers", "processes", "part"),
    [
        (False, 0, 1, "test"),
        (True, 2, 1, "predict"),
        (True, 2, 1, "test"),
        (True, 0, 2, "val"),
        (True, 0, 3, "test"),
        (False, 2, 2, "predict"),
    ],
)
def test_rows_and_files_are_those_stored(write, streaming, workers, processes, part):
    whole = table(image_id=[100 + row for row in range(ROWS)])
    folder = write(shards=2, train=whole, validation=whole, test=whole)
    found = []
    for rank in range(processes):
        data = module(folder, streaming=streaming, num_workers=workers)
        data.trainer = Process(rank, processes)
        data.setup({"val": "validate"}.get(part, part))
        found += seen(getattr(data, f"{part}_dataloader")())
    assert sorted(found) == [(row, f"{row}.png", 100 + row, row) for row in range(ROWS)]


def test_a_shuffled_stream_knows_its_rows(write):
    data = module(write(shards=3, train=table(), validation=table(3)), streaming=True, shuffle_buffer=4, num_workers=2)
    data.setup("fit")
    assert "file" in next(iter(data.val_dataloader()))
    rows = [index for batch in data.train_dataloader() for index in batch["index"].tolist()]
    assert len(set(rows)) == len(rows) >= ROWS - 2 * 2  # each worker leaves out what fills no batch
    assert set(rows) <= set(range(ROWS))


@pytest.mark.parametrize("streaming", [False, True])
def test_folders_tell_paths_within_them(tmp_path, streaming):
    for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
        for split in ("train", "test"):
            path = tmp_path / "pets" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
    data = module(tmp_path / "pets", streaming=streaming)
    data.setup("test")
    found = [(row, file) for row, file, _, _ in seen(data.test_dataloader())]
    assert found == [(0, "test/cat/a.png"), (1, "test/cat/b.png"), (2, "test/dog/a.png")]


@pytest.mark.parametrize("streaming", [False, True])
def test_skipped_rows_and_errors_name_the_file(write, streaming, caplog):
    folder = write(shards=2, train=table(), validation=table(), test=table(bad=[7]))
    data = module(folder, streaming=streaming, on_bad_image="skip")
    data.setup("test")
    assert [row for row, *_ in seen(data.test_dataloader())] == [row for row in range(ROWS) if row != 7]
    assert data.skipped["test"].rows == {7}
    assert "1 images cannot be read and are skipped (rows 7 (7.png))" in caplog.text
    data = module(folder, streaming=streaming)
    data.setup("test")
    with pytest.raises(DataError, match=r"split 'test', row 7 \(7.png\): the image cannot be read"):
        list(data.test_dataloader())


@pytest.mark.parametrize(
    ("columns", "row", "of", "called"),
    [
        ({"image_column": "image"}, {"image": {"path": "x.png"}}, {}, " (x.png)"),
        ({"image_column": "i", "has_files": True}, {"i": {"path": "/d/c/x.png"}}, {"file": "c/x.png"}, " (c/x.png)"),
        ({"image_column": "i", "file_column": "f", "has_files": True}, {"i": {"path": "x"}, "f": "y"}, {"file": "y"},
         " (y)"),
        ({"image_column": "i", "id_column": "id"}, {"i": b"", "id": 5}, {"image_id": 5}, " (id 5)"),
        ({"image_column": "i", "id_column": "id"}, {"i": b""}, {"image_id": None}, ""),
        ({"image_column": "i", "has_files": True}, {"i": {"bytes": b"", "path": None}}, {"file": ""}, ""),
    ],
)  # fmt: skip
def test_what_a_row_is_called(columns, row, of, called):
    identity = Identity(root="/d", **columns)
    assert identity.of(row) == of
    assert identity.called(row) == called


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("zip://cat/a.png::/data/train.zip", "cat/a.png"),
        ("hf://datasets/me/pets@0123abc/train/cat/a.png", "train/cat/a.png"),
        ("/cache/downloads/extracted/" + "ab" * 32 + "/train/cat/a.png", "train/cat/a.png"),
        ("/data/pets/cat/a.png", "cat/a.png"),
        ("/data/pets2/a.png", "/data/pets2/a.png"),
        ("a.png", "a.png"),
    ],
)
def test_paths_within_a_data_set(path, inside):
    assert path_inside(path, "/data/pets") == inside


def test_names_stand_in_messages_without_control_characters():
    identity = Identity("image", id_column="id")
    assert identity.called({"id": "a\x1b[31m\nb é"}) == r" (id a\x1b[31m b é)"
    assert len(identity.called({"id": "x" * 1000})) == 303


def test_shards_of_unknown_length_are_told_apart(write):
    stream = datasets.load_dataset(write(shards=2, train=table()), streaming=True)["train"]
    assert find_shards(stream) == Shards([0, 6], True)
    rows = [example[ROW] for example in number_rows(stream, Shards([0, UNKNOWN_STRIDE], False))]
    assert rows == [*range(6), *(UNKNOWN_STRIDE + row for row in range(5))]

    def generate(files):
        for _ in files:
            yield from ({"image": picture(row), "label": 0} for row in range(2))

    features = datasets.Features({"image": datasets.Image(), "label": CLASS})
    made = datasets.IterableDataset.from_generator(generate, gen_kwargs={"files": ["a", "b"]}, features=features)
    assert find_shards(made) == Shards([0, UNKNOWN_STRIDE], False)
    assert describe_row(UNKNOWN_STRIDE + 3) == "row 3 of file 1"
    assert describe_row(3) == "row 3"


def objects(**fields):
    rows = [{name: values[row] for name, values in fields.items()} | {"bbox": [[1, 1, 4, 4]] * 2} for row in range(2)]
    return datasets.Dataset.from_dict({"image": [picture(0)] * 2, "objects": rows})


@pytest.mark.parametrize(
    ("fields", "names", "ids"),
    [
        ({"category": [[90, 1], [18, 1]]}, ["1", "18", "90"], [1, 18, 90]),
        ({"category": [["cat", "dog"], ["elk", "cat"]]}, ["cat", "dog", "elk"], [0, 1, 2]),
        ({"category": [["cat", "dog"], ["elk", "cat"]], "category_id": [[17, 90], [3, 17]]}, ["cat", "dog", "elk"],
         [17, 90, 3]),
        ({"category": [["cat", "dog"], ["elk", "cat"]], "category_id": [[17, 90], [3, 18]]}, ["cat", "dog", "elk"],
         [0, 1, 2]),
        ({"category": [["cat", "dog"], ["elk", "cat"]], "category_id": [[17, 17], [3, 17]]}, ["cat", "dog", "elk"],
         [0, 1, 2]),
    ],
)  # fmt: skip
def test_numbers_of_categories_are_the_data_set_s(fields, names, ids):
    stored = objects(**fields)
    found = find_fields(stored.features, "objects", None, "category", None)
    values = [value for row in fields["category"] for value in row]
    classes = find_classes(None, values, None)
    assert list(classes.names) == names
    assert stored_category_ids(stored_column(stored, "objects"), found, classes) == ids


def test_a_data_module_tells_them(write):
    stored = objects(category=[[90, 1], [18, 1]]).cast_column("image", datasets.Image())
    for streaming in (False, True):
        data = DetectionDataModule(
            dataset=write(train=stored, validation=stored, test=stored), num_workers=0,
            streaming=streaming, num_classes=91 if streaming else None,
        )  # fmt: skip
        data.setup("test")
        assert data.category_ids == (list(range(91)) if streaming else [1, 18, 90])
