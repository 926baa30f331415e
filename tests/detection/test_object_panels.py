"""Objects as pictures: in TensorBoard and beside other callbacks, and what a picture shows where."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from made_up import NAMES, MadeUpData, MadeUpTask
from shapes import SMALL
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from biformer_lit.callbacks import ConfusionMatrix, DetectionPanels, PredictionWriter, RoutingMaps, SegmentationPanels
from biformer_lit.callbacks.shown import Shown
from biformer_lit.cli import main
from biformer_lit.dense.label_colours import palette
from biformer_lit.detection.detection_panels import draw_object_panels
from biformer_lit.detection.object_drawing import as_arrays, object_picture
from biformer_lit.errors import ConfigError
from biformer_lit.routing import record_blocks

ORANGE, SKY = palette(4).astype(float)[1:3]


def one(box, label=1, **more):
    """Objects of an image that has one."""
    return {"boxes": np.array([box], np.float32), "labels": np.array([label]), **more}


def at(picture, x, y, colour, tolerance=40):
    """Whether a pixel has about this colour."""
    return np.abs(picture[y, x].astype(int) - colour).max() <= tolerance


def images_of(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_what_watches_a_run_of_detection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backbone = ["--model.init_args.backbone.depths=[1,1,1,1]", "--model.init_args.backbone.dims=[16,16,32,32]"]
    backbone += [f"--model.init_args.backbone.{x}" for x in ("head_dim=16", "stem_stride=2", "regions=2")]
    cli = main(
        [
            *("fit", "--model", "made_up.MadeUpTask", *backbone, "--model.init_args.backbone.topk=[1,2,4,all]"),
            *("--data", "made_up.MadeUpData", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"),
            *("--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.log_every_n_steps=1"),
            *("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir=logs", "--trainer.logger.name=made"),
            *("--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false"),
        ]
    )
    kinds = [type(callback) for callback in cli.trainer.callbacks]
    assert kinds.count(DetectionPanels) == 1
    assert SegmentationPanels not in kinds
    log = images_of("logs/made/version_0")
    assert set(log.Tags()["images"]) == {"val/panels", "train/images", "routing/maps"}  # no confusion matrix
    assert [event.step for event in log.Images("val/panels")] == [1]
    assert "routing/stage1.block1/never_chosen" in log.Tags()["scalars"]


def trainer(folder, *callbacks, **options):
    return Trainer(
        accelerator="cpu", logger=TensorBoardLogger(folder, "", ""), callbacks=list(callbacks),
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, max_epochs=4,
        limit_train_batches=1, num_sanity_val_steps=1, log_every_n_steps=1, **options,
    )  # fmt: skip


def test_panels_in_their_turns_and_for_their_task(tmp_path):
    panels, matrix = DetectionPanels(every_n_epochs=3, images=2), ConfusionMatrix()
    trainer(tmp_path, panels, matrix, SegmentationPanels()).fit(MadeUpTask(SMALL), datamodule=MadeUpData(masks=False))
    log = images_of(tmp_path)
    assert log.Tags()["images"] == ["val/panels"]
    assert [event.step for event in log.Images("val/panels")] == [1, 4]
    assert matrix.matrix is None


def test_other_tasks_are_not_drawn(tmp_path):
    class Other(MadeUpTask):
        kind = "classification"

    panels = DetectionPanels()
    trainer(tmp_path, panels).validate(Other(SMALL), datamodule=MadeUpData(3), verbose=False)
    assert panels.drawn is None


def test_the_routing_is_that_of_the_validation(tmp_path):
    """Though the backbone runs alone, on images that are no multiple of its stride."""
    data = MadeUpData(3)
    batch = next(iter(data.val_dataloader()))
    task = MadeUpTask(SMALL, num_classes=4)
    task.configure_model()
    task.net.eval()

    class Fed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = task.net

        def forward(self, images):
            return self.net(images, batch["size"])

    wanted, _ = record_blocks(Fed(), batch["image"])
    maps = RoutingMaps(images=3)
    trainer(tmp_path, maps).validate(task, datamodule=data, verbose=False)
    assert set(maps.choices) == {block.name for block in wanted}
    assert all(torch.equal(maps.choices[block.name], block.record.index) for block in wanted)


def test_boxes_lie_where_they_are_in_the_stored_image():
    """Stored with 96 x 192 pixels, fed with 48 x 96, drawn with 240 x 480."""
    picture = object_picture(np.full((48, 96, 3), 0.5), (96, 192), one([40, 30, 100, 80]), NAMES)
    assert picture.shape == (240, 480, 3)
    assert picture.dtype == np.uint8
    left, top, right, bottom = 100, 75, 250, 200  # times 2.5
    for x, y in ((left, 140), (right, 140), (175, bottom), (240, top)):
        near = picture[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
        assert np.abs(near - ORANGE).max(1).min() <= 3
    for x, y in ((left + 6, 140), (right + 6, 140), (left - 6, 140), (175, bottom + 6), (175, bottom - 6)):
        assert at(picture, x, y, 127, 1)
    name = picture[top - 14 : top - 2, left + 2 : left + 40].reshape(-1, 3)
    assert (name < 60).all(1).sum() > 20  # black letters ...
    assert (np.abs(name.astype(int) - ORANGE).max(1) < 40).sum() > 50  # ... on the class' colour


def test_a_large_image_keeps_its_size():
    assert object_picture(np.zeros((333, 501, 1)), (100, 150), one([1, 1, 9, 9]), NAMES).shape == (333, 501, 3)
    assert object_picture(np.zeros((5, 7, 3)), (5, 7), one([0, 0, 7, 5]), NAMES).shape == (345, 483, 3)


def test_masks_are_translucent_with_an_edge():
    mask = np.zeros((1, 96, 96), bool)
    mask[0, 40:80, 20:60] = True
    picture = object_picture(np.full((96, 96, 3), 0.5), (96, 96), one([10, 30, 70, 90], 2, masks=mask), NAMES)
    assert at(picture, 200, 300, 127.5 * 140 / 255 + SKY * 115 / 255, 2)
    assert at(picture, 80, 300, 127, 2)
    assert picture[300, 100:102].max(1).min() < 80  # the edge


def test_crowds_differ():
    grey = np.full((96, 96, 3), 0.5)
    box, mask = [20, 20, 80, 80], np.ones((1, 96, 96), bool)
    pictures = []
    for more in ({}, {"masks": mask}):
        alone, crowd = (object_picture(grey, (96, 96), one(box, **more, crowd=np.array([x])), NAMES) for x in (0, 1))
        inside = [picture[150:350, 150:350].reshape(-1, 3) for picture in (alone, crowd)]
        assert len(np.unique(inside[0], axis=0)) == 1
        assert len(np.unique(inside[1], axis=0)) > 1  # hatched or striped
        pictures.append((alone, crowd))
    alone, crowd = (picture[110:390, 99:102].astype(int) for picture in pictures[1])
    frame = [(np.abs(x - ORANGE).max(2) <= 3).any(1).mean() for x in (alone, crowd)]
    assert frame[0] == 1
    assert frame[1] < 0.9  # dashed


def test_no_objects_leave_the_image():
    found = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "scores": np.zeros(0, np.float32)}
    for more in ({}, {"masks": np.zeros((0, 48, 48), bool)}):
        assert (object_picture(np.ones((48, 48, 1)), (48, 48), found | more, NAMES) == 255).all()


def test_which_predictions_are_drawn():
    scores = np.linspace(0.9, 0.1, 9, dtype=np.float32)
    found = {"boxes": np.zeros((9, 4)), "labels": np.zeros(9, int), "scores": scores}
    drawn, enough = Shown("", 0.45, 30).of(found)
    assert enough == len(drawn["boxes"]) == len(drawn["scores"]) == 5
    drawn, enough = Shown("", 0.0, 2).of(found)
    assert (len(drawn["labels"]), enough) == (2, 9)


def test_a_figure_of_panels():
    truth = one([2, 2, 9, 9], 1, crowd=np.array([True]))
    found = {"boxes": np.array([[1, 1, 8, 8]] * 3, np.float32), "labels": np.array([3, 0, 2])}
    found["scores"] = np.array([0.9, 0.8, 0.2], np.float32)
    rows = [(np.zeros((8, 8, 3)), (16, 16), truth, found), (np.zeros((8, 8, 1)), (16, 16), as_arrays(None), found)]
    figure = draw_object_panels(rows, NAMES, Shown("", 0.3, 1))
    assert [axis.get_title() for axis in figure.axes] == ["truth", "prediction, 1 of 2"] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["orange", r"a \$ and a \$", "crowd"]
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert texts == [["orange (crowd)"], ["a \\$ and a \\$ 0.90"], [], ["a \\$ and a \\$ 0.90"]]
    figure.canvas.draw()  # dollars are dollars
    figure = draw_object_panels(rows[:1], NAMES, Shown("", 0.3, 30))
    assert figure.axes[1].get_title() == "prediction"


@pytest.mark.parametrize(("field", "value"), [("min_score", -0.1), ("min_score", 1.0), ("most_boxes", 0)])
def test_out_of_range(field, value):
    with pytest.raises(ConfigError, match=rf"DetectionPanels {field}={value} must be at least"):
        DetectionPanels(**{field: value})
    with pytest.raises(ConfigError, match=rf"predictions.{field}={value} must be at least"):
        PredictionWriter(**{field: value})
