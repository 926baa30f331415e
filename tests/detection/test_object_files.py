"""Predicted objects as COCO's files: what they hold, what reads them, and when they are there."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from made_up import FED, NAMES, STORED, MadeUpData, MadeUpTask, objects, predictions
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shapes import SMALL
from torchmetrics.detection import MeanAveragePrecision

from biformer_lit.callbacks import PredictionWriter
from biformer_lit.callbacks.shown import Shown
from biformer_lit.detection.object_files import JsonRows, ObjectFiles
from biformer_lit.errors import ConfigError

SHOWN = Shown("", 0.3, 30)
# pycocotools 2.0.11 makes arrays in the way of NumPy 1
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def predict(folder, data, task=None, **settings):
    """The folder that a prediction was written to, and the writer."""
    writer = PredictionWriter(str(folder), **settings)
    trainer = Trainer(accelerator="cpu", logger=False, callbacks=[writer], enable_progress_bar=False)
    trainer.predict(task or MadeUpTask(SMALL), datamodule=data, return_predictions=False)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What is written of a labelled set with masks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        return predict(tmp_path_factory.mktemp("predicted") / "out", MadeUpData())


def load(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def overlay(folder, index):
    return np.asarray(Image.open(folder / f"overlays/{index:06d}.png"))


def test_what_is_written(written):
    assert sorted(path.name for path in written.iterdir()) == ["annotations.json", "detections.json", "overlays"]
    found, truth = load(written, "detections"), load(written, "annotations")
    assert truth["categories"] == [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    sizes = [{"id": i, "width": STORED[i % 3][1], "height": STORED[i % 3][0]} for i in range(6)]
    assert truth["images"] == sizes
    assert [x["id"] for x in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    for i in range(6):
        wanted = objects(i)
        assert_same([x for x in truth["annotations"] if x["image_id"] == i], wanted, ("area", "iscrowd"))
        assert_same([x for x in found if x["image_id"] == i], predictions(wanted, i, STORED[i % 3]), ("score",))
    assert {4} == set(range(6)) - {x["image_id"] for x in found}


def assert_same(entries, wanted, more):
    """Entries of a list of COCO's hold what the tensors do, to the last bit."""
    assert len(entries) == len(wanted["boxes"])
    names = {"area": "area", "iscrowd": "crowd", "score": "scores"}
    for i, entry in enumerate(entries):
        box = wanted["boxes"][i]
        assert torch.equal(torch.tensor(entry["bbox"]), torch.cat([box[:2], box[2:] - box[:2]]))
        assert entry["category_id"] == wanted["labels"][i]
        for name in more:
            assert torch.tensor(entry[name], dtype=wanted[names[name]].dtype) == wanted[names[name]][i]
        assert isinstance(entry["segmentation"]["counts"], str)
        assert np.array_equal(coco_masks.decode(entry["segmentation"]), wanted["masks"][i].numpy())


def test_overlays_have_the_fed_size_or_a_multiple(written):
    names = [f"{i:06d}.png" for i in range(6)]
    assert sorted(path.name for path in (written / "overlays").iterdir()) == names
    for i, times in zip(range(3), (10, 4, 7), strict=True):
        assert overlay(written, i).shape == (FED[i][0] * times, FED[i][1] * times, 3)
    empty = overlay(written, 4).astype(int)
    plain = MadeUpData().images[4][0].permute(1, 2, 0).numpy() * 0.25 + 0.5
    wanted = (plain * 255).repeat(4, 0).repeat(4, 1)
    assert np.abs(empty - wanted).max() <= 1  # nothing found, nothing drawn


@pytest.fixture(scope="module")
def scores():
    """What torchmetrics makes of the tensors.

    Of both kinds at once, for of masks alone it leaves out the images that have no objects.
    """
    metric = MeanAveragePrecision(iou_type=("bbox", "segm"), backend="pycocotools")
    for i in range(6):
        truth = objects(i)
        given = {**truth, "masks": truth["masks"].bool(), "iscrowd": truth["crowd"].int()}
        metric.update([predictions(truth, i, STORED[i % 3])], [given])
    return {name: float(value) for name, value in metric.compute().items() if value.numel() == 1}


STATISTICS = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large"]
STATISTICS += ["mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"]


@pytest.mark.parametrize(("kind", "boxes"), [("bbox", True), ("segm", True), ("segm", False)])
def test_the_scores_are_those_of_the_tensors(written, scores, kind, boxes):
    truth = COCO(str(written / "annotations.json"))
    found = str(written / "detections.json")
    if not boxes:  # else pycocotools takes the boxes' areas for those of the masks
        entries = load(written, "detections")
        found = [{key: value for key, value in x.items() if key != "bbox"} for x in entries]
    evaluation = COCOeval(truth, truth.loadRes(found), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    compared = [i for i, name in enumerate(STATISTICS) if name[4:] in ("", "50", "75", "1", "10", "100")]
    compared = compared if kind == "segm" and boxes else range(12)
    for i in compared:
        assert evaluation.stats[i] == pytest.approx(scores[f"{kind}_{STATISTICS[i]}"], abs=1e-6)
    assert 0.1 < evaluation.stats[0] < 0.9


class NoMasks(MadeUpTask):
    masks = False


def test_without_masks_and_truth(tmp_path):
    data = MadeUpData(3, labelled=[], masks=False)
    folder = predict(tmp_path / "out", data, NoMasks(SMALL), min_score=0.0, most_boxes=1)
    assert sorted(path.name for path in folder.iterdir()) == ["detections.json", "overlays"]
    assert all(set(x) == {"image_id", "category_id", "bbox", "score"} for x in load(folder, "detections"))


def test_a_batch_may_lack_the_objects(tmp_path):
    files = ObjectFiles(tmp_path / "out", NAMES, SHOWN)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    batch = {
        "image": torch.zeros(1, 1, 8, 8),
        "size": torch.tensor([[8, 6]]),
        "stored_size": torch.tensor([[80, 60]]),
        "index": torch.tensor([7]),
    }
    files.write_batch(SimpleNamespace(), {"index": batch["index"], "objects": [nothing]}, batch)
    files.close()
    assert load(tmp_path / "out", "detections") == []
    assert not (tmp_path / "out/annotations.json").exists()
    assert overlay(tmp_path / "out", 7).shape == (480, 360, 3)


def test_images_without_labels_are_not_in_the_truth(tmp_path):
    folder = predict(tmp_path / "out", MadeUpData(4, labelled=[1, 3]))
    truth = load(folder, "annotations")
    assert [image["id"] for image in truth["images"]] == [1, 3]  # the latter without any object
    assert {x["image_id"] for x in truth["annotations"]} == {1}
    assert {x["image_id"] for x in load(folder, "detections")} == {0, 1, 2, 3}


def test_nothing_is_overwritten(written, tmp_path):
    with pytest.raises(ConfigError, match=r"predictions.path=\S+ exists already; choose another folder or empty it"):
        ObjectFiles(written, NAMES, SHOWN)
    with pytest.raises(ConfigError, match=r"the folder \S+ does not exist; make it first"):
        ObjectFiles(tmp_path / "no/out", NAMES, SHOWN)
    (tmp_path / "empty").mkdir()
    ObjectFiles(tmp_path / "empty", NAMES, SHOWN).close()
    assert load(tmp_path / "empty", "detections") == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_the_images_so_far(tmp_path, error, capsys):
    class Fails(MadeUpTask):
        def predict_step(self, batch, batch_idx):
            assert not list(tmp_path.glob("out/*.json"))  # nobody reads half a file
            if batch_idx == 1:
                raise error("stop")
            return super().predict_step(batch, batch_idx)

    with pytest.raises((error, SystemExit)):
        predict(tmp_path / "out", MadeUpData(), Fails(SMALL))
    truth = COCO(str(tmp_path / "out/annotations.json"))
    assert truth.getImgIds() == [0, 1, 2]
    assert len(truth.loadRes(str(tmp_path / "out/detections.json")).anns) == sum(3 + i for i in range(3))
    assert len(list(tmp_path.glob("out/**/*.*"))) == 5


def test_rows_of_json(tmp_path):
    rows = JsonRows(tmp_path / "rows.json", '{"rows": [')
    rows.add({"a": 1})
    assert not (tmp_path / "rows.json").exists()
    rows.add({"b": [0.5]})
    rows.close("]}")
    assert json.loads((tmp_path / "rows.json").read_text()) == {"rows": [{"a": 1}, {"b": [0.5]}]}
    assert len((tmp_path / "rows.json").read_text().splitlines()) == 4
    assert len(list(tmp_path.iterdir())) == 1


def test_each_process_writes_its_own_folder(tmp_path):
    writer = PredictionWriter()
    trainer = SimpleNamespace(fast_dev_run=False, log_dir=None, default_root_dir=tmp_path, global_rank=1)
    task = MadeUpTask(SMALL, num_classes=4)
    writer.on_predict_start(trainer, task)
    writer.on_predict_end(trainer, task)
    assert writer.written == tmp_path / "predictions-rank1"
    assert load(writer.written, "detections") == []
