"""What the fuzz tests have found, each once more by name."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_fuzz_objects import check_row

from biformer_lit.data import DetectionDataModule, SegmentationDataModule
from biformer_lit.data.images.decoding import BadImageError, reading
from biformer_lit.data.labels import Classes
from biformer_lit.detection.object_masks import decode_object_mask
from biformer_lit.errors import BiFormerLitError, DataError
from biformer_lit.running.history import read_epochs


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


BOX = [1.0, 1.0, 5.0, 5.0]


@pytest.mark.parametrize(
    "stored",
    [
        {"bbox": False},
        {"bbox": [], "category": [], "mask": {"": None}},
        {"bbox": [BOX], "category": [0], "iscrowd": [""]},
        {"bbox": [BOX], "category": [0], "area": [{}]},
        {"bbox": [BOX], "category": [0], "iscrowd": False},
        {"bbox": [[1, [2, 3]], BOX], "category": [0, 0]},
        [{"bbox": BOX, "category": []}],
        [0],
        {"bbox": [[10**400] * 4], "category": [0]},
    ],
)
def test_objects_of_no_known_shape(stored):
    check_row(stored, (9, 9), "xywh", False, True)


@pytest.mark.parametrize("mask", [{"\n": 1}, {"counts": False, "size": [9, 9]}, {"counts": "0", "size": 9}])
def test_masks_of_no_known_shape(mask):
    with pytest.raises(DataError, match=r"^here: [^\n]*$"):
        decode_object_mask(mask, (9, 9), False, "here")


def test_a_decoder_that_raises_what_no_other_does():
    with pytest.raises(BadImageError), reading("here", "image"):
        raise RuntimeError("Failed to decode image: the AV1 data of a damaged AVIF file")


def test_a_folder_that_lists_no_split(tmp_path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": []}')
    with pytest.raises(DataError, match=r"^[^\n]* no split at all; [^\n]*$"):
        DetectionDataModule(dataset=str(tmp_path)).setup()


def test_one_row_cannot_be_divided(tmp_path):
    pq.write_table(pa.table({"image": [b"x"], "mask": [b"x"]}), tmp_path / "train.parquet")
    with pytest.raises(BiFormerLitError, match=r"val_fraction: 0.1 of 1 rows leaves 0 for training and 1 "):
        SegmentationDataModule(dataset=str(tmp_path), num_classes=2).setup()


def test_names_with_line_breaks_leave_an_error_on_one_line():
    assert str(DataError("no column 'x'; the columns are a\nb, c\u2028d")) == "no column 'x'; the columns are a b, c d"


def test_boxes_of_halves(tmp_path):
    row = [{"bbox": [1.0, 1.0, 5.0, 5.0], "category": 1}]
    kind = pa.list_(pa.struct([("bbox", pa.list_(pa.float16())), ("category", pa.int64())]))
    table = pa.table({"image": pa.array([b"x"] * 4), "objects": pa.array([row] * 4, kind)})
    pq.write_table(table, tmp_path / "train.parquet")
    data = DetectionDataModule(dataset=str(tmp_path))
    data.setup()
    assert data.num_rows("train") == 3


def test_an_epoch_without_its_metrics_is_passed_over(tmp_path):
    lines = [{"epoch": 1, "metrics": {"a": 1.0}}, {"epoch": 2, "metricx": {}}, {"epoch": 2, "metrics": {"a": "1"}}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_epochs(tmp_path / "p.jsonl") == lines[:1]


def test_an_image_where_a_label_should_be_is_not_shown_as_a_whole():
    with pytest.raises(DataError) as caught:
        Classes(["a"]).number(b"x" * 10_000, "here")
    assert len(str(caught.value)) < 300
