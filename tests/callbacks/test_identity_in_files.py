"""Predictions name the images they belong to, whatever loads them."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_up import NAMES
from matplotlib.figure import Figure
from PIL import Image

from biformer_lit.callbacks.predictions import PredictionWriter
from biformer_lit.callbacks.shown import Shown
from biformer_lit.classification.class_table import ClassTable
from biformer_lit.dense.panels import name_row
from biformer_lit.detection.object_files import ObjectFiles
from biformer_lit.errors import ConfigError
from biformer_lit.segmentation.map_files import MapFiles

FILES = ["cat/a.png", "dog/b, c.png"]


def found(count=1):
    boxes = torch.tensor([[1.0, 2.0, 5.0, 7.0]]).repeat(count, 1)
    return {"boxes": boxes, "labels": torch.arange(count) % 2, "scores": torch.full((count,), 0.9)}


def batch(**named):
    return {
        "image": torch.zeros(2, 3, 8, 8), "size": torch.tensor([[8, 6], [8, 8]]), "index": torch.tensor([4, 2]),
        "stored_size": torch.tensor([[8, 6], [8, 8]]), **named,
    }  # fmt: skip


def lines(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_classes_come_with_files_and_numbers(tmp_path):
    table = ClassTable(tmp_path / "p.csv", ["cat", "dog"], ("file", "image_id"))
    outputs = {"index": torch.tensor([4, 2]), "probabilities": torch.tensor([[0.9, 0.1], [0.2, 0.8]])}
    table.write_batch(SimpleNamespace(), outputs, batch(file=FILES, image_id=[17, None]))
    table.close()
    assert [tuple(row.values())[:4] for row in lines(tmp_path / "p.csv")] == [
        ("4", "cat/a.png", "17", "cat"),
        ("2", "dog/b, c.png", "", "dog"),
    ]


def test_label_maps_tell_their_image(tmp_path):
    files = MapFiles(tmp_path / "out", 3)
    outputs = {"index": torch.tensor([4, 2]), "labels": [torch.zeros(8, 6, dtype=torch.int64)] * 2}
    files.write_batch(SimpleNamespace(), outputs, batch(file=FILES))
    files.close()
    assert lines(tmp_path / "out/images.csv") == [
        {"index": "4", "picture": "000004.png", "file": "cat/a.png"},
        {"index": "2", "picture": "000002.png", "file": "dog/b, c.png"},
    ]
    for kind in ("labels", "overlays"):
        picture = Image.open(tmp_path / "out" / kind / "000002.png")
        assert picture.text == {"file": "dog/b, c.png"}
    assert np.asarray(Image.open(tmp_path / "out/labels/000002.png")).max() == 0


def test_objects_keep_the_numbers_of_their_data_set(tmp_path, caplog):
    files = ObjectFiles(tmp_path / "out", NAMES, Shown("", 0.3, 30), [1, 3, 18, 90])
    truth = {"boxes": torch.tensor([[1.0, 2.0, 5.0, 7.0]]), "labels": torch.tensor([3]),
             "area": torch.tensor([20.0]), "crowd": torch.tensor([False])}  # fmt: skip
    known = batch(file=FILES, image_id=[139, 285], objects=[truth, truth])
    files.write_batch(SimpleNamespace(), {"index": known["index"], "objects": [found(2), found()]}, known)
    files.close()
    written = json.loads((tmp_path / "out/detections.json").read_text())
    assert [(x["image_id"], x["category_id"], x["file_name"]) for x in written] == [
        (139, 1, FILES[0]), (139, 3, FILES[0]), (285, 1, FILES[1]),
    ]  # fmt: skip
    told = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [(image["id"], image["file_name"]) for image in told["images"]] == [(139, FILES[0]), (285, FILES[1])]
    assert [x["category_id"] for x in told["annotations"]] == [90, 90]
    assert [x["id"] for x in told["categories"]] == [1, 3, 18, 90]
    assert [row["image_id"] for row in lines(tmp_path / "out/images.csv")] == ["139", "285"]
    assert Image.open(tmp_path / "out/overlays/000004.png").text["image_id"] == "139"
    assert not caplog.records


def test_a_number_of_two_images_is_told(tmp_path, caplog):
    files = ObjectFiles(tmp_path / "out", NAMES, Shown("", 0.3, 30))
    twice = batch(image_id=["x", "x"])
    files.write_batch(SimpleNamespace(), {"index": twice["index"], "objects": [found(), found()]}, twice)
    files.close()
    assert "image_id x stands for rows 4 and 2" in caplog.text


def test_categories_are_matched_by_name(tmp_path):
    """The data's numbers count, also where the checkpoint's classes have another order; else those it was made with."""
    task = SimpleNamespace(kind="detection", class_names=["cat", "dog", "elk"], category_ids=[7, 8, 9], num_classes=3)
    written = {}
    for name, data in {
        "other order": SimpleNamespace(own_class_names=["dog", "cat"], category_ids=[18, 17]),
        "no data module": None,
    }.items():
        writer = PredictionWriter(str(tmp_path / name))
        writer.on_predict_start(SimpleNamespace(fast_dev_run=False, global_rank=0, datamodule=data), task)
        written[name] = writer.files.category_ids
        writer.on_predict_end(None, task)
    assert written == {"other order": [17, 18, 9], "no data module": [7, 8, 9]}


@pytest.mark.parametrize("leads", ["nowhere", "to a folder", "to a file"])
@pytest.mark.parametrize("kind", ["table", "maps", "objects"])
def test_links_are_not_followed(tmp_path, leads, kind):
    target = tmp_path / "elsewhere"
    if leads == "to a folder":
        target.mkdir()
    elif leads == "to a file":
        target.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(target)
    make = {
        "table": lambda: ClassTable(link, NAMES),
        "maps": lambda: MapFiles(link, 3),
        "objects": lambda: ObjectFiles(link, NAMES, Shown("", 0.3, 30)),
    }
    with pytest.raises(ConfigError, match=r"predictions.path=\S+link is a link, which is not followed; give the"):
        make[kind]()
    assert target.exists() == (leads != "nowhere")
    assert leads != "to a folder" or not any(target.iterdir())
    assert leads != "to a file" or target.read_text() == "mine"


def test_rows_of_panels_say_which_image_they_are():
    axis = Figure().subplots()
    name_row(axis, 17, {"file": "a_$b_$c.png"})
    name_row(axis, 18, {})
    assert [text.get_text().replace("\\", "") for text in axis.texts] == ["row 17: a_$b_$c.png", "row 18"]
