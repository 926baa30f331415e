"""Label maps as pictures: in TensorBoard, and as files of a prediction."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from shapes import IGNORED, NAMES, ShapesDataModule, scene
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from biformer_lit import load_task
from biformer_lit.callbacks import ConfusionMatrix, PredictionWriter, SegmentationPanels
from biformer_lit.cli import main
from biformer_lit.dense.label_colours import overlay, paint_labels, palette
from biformer_lit.errors import ConfigError
from biformer_lit.segmentation.map_files import MapFiles
from biformer_lit.segmentation.segmentation_panels import draw_panels


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A run from the command line with everything that watches it."""
    folder = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PL_GLOBAL_SEED", "0")
        cli = main(["fit", "--config", str(root / "tests/configs/shapes.yaml"), "--trainer.max_epochs", "6"])
    return folder, cli


def test_what_watches_a_run_of_segmentation(run):
    folder, cli = run
    log = EventAccumulator(str(folder / "runs/shapes/version_0"), size_guidance={"images": 0}).Reload()
    assert set(log.Tags()["images"]) == {"val/panels", "val/confusion", "train/images", "routing/maps"}
    assert [event.step for event in log.Images("val/panels")] == [3, 18]  # epochs 0 and 5
    assert len(log.Images("val/confusion")) == 6
    scalars = set(log.Tags()["scalars"])
    assert {"val/miou", "val/iou/red", "train/images_per_second", "routing/stage1.block1/never_chosen"} <= scalars
    assert "val/iou/never" not in scalars
    assert sum(isinstance(callback, SegmentationPanels) for callback in cli.trainer.callbacks) == 1


def test_other_tasks_have_no_panels(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli = main(["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--trainer.max_epochs", "1"])
    assert not any(isinstance(callback, SegmentationPanels) for callback in cli.trainer.callbacks)


def test_predictions_are_written_as_pictures(run, root, tmp_path, monkeypatch):
    folder, _ = run
    monkeypatch.chdir(tmp_path)
    checkpoint = folder / "runs/shapes/version_0/checkpoints/last.ckpt"
    arguments = ["predict", "--config", str(root / "tests/configs/shapes.yaml"), "--ckpt_path", str(checkpoint)]
    main([*arguments, "--predictions.path", "out"])
    names = [f"{i:06d}.png" for i in range(8)]
    assert sorted(path.name for path in (tmp_path / "out/labels").iterdir()) == names
    assert sorted(path.name for path in (tmp_path / "out/overlays").iterdir()) == names
    task = load_task(checkpoint)
    for i, size in enumerate([(32, 32), (40, 52), (64, 33)]):
        image, _ = scene(i, *size)
        with torch.no_grad():
            wanted = task.net(image[None]).argmax(1)[0].numpy()
        stored = Image.open(tmp_path / "out/labels" / names[i])
        assert stored.mode == "L"
        assert (np.asarray(stored) == wanted).mean() > 0.999
        drawn = np.asarray(Image.open(tmp_path / "out/overlays" / names[i])).astype(int)
        photo = image.clamp(0, 1).permute(1, 2, 0).numpy() * 255
        difference = drawn - (photo + palette(5)[np.asarray(stored)]) / 2
        assert np.abs(difference).max() <= 1
    with pytest.raises(ConfigError, match=r"predictions.path=out exists already; choose another folder or empty it"):
        main([*arguments, "--predictions.path", "out"])
    with pytest.raises(ConfigError, match=r"predictions.path=no/out: the folder no does not exist"):
        main([*arguments, "--predictions.path", "no/out"])


def test_without_a_path_the_folder_lies_in_the_run_s(run, tmp_path):
    folder, _ = run
    writer = PredictionWriter()
    trainer = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, callbacks=[writer], enable_progress_bar=False,
        limit_predict_batches=1, enable_model_summary=False,
    )  # fmt: skip
    task = load_task(folder / "runs/shapes/version_0/checkpoints/last.ckpt")
    trainer.predict(task, datamodule=ShapesDataModule(), return_predictions=False)
    assert writer.written == tmp_path / "predictions"
    assert len(list((tmp_path / "predictions/labels").iterdir())) == 3


def test_many_classes_take_sixteen_bits(tmp_path):
    files = MapFiles(tmp_path / "out", 300)
    labels = torch.tensor([[0, 255], [256, 299]])
    files.write(1_234_567, labels, torch.zeros(3, 2, 2))
    stored = Image.open(tmp_path / "out/labels/1234567.png")
    assert stored.mode == "I;16"
    assert np.array_equal(np.asarray(stored), labels.numpy())
    MapFiles(tmp_path / "eight", 256).write(0, torch.tensor([[255]]), torch.zeros(1, 1, 1))
    assert Image.open(tmp_path / "eight/labels/000000.png").getpixel((0, 0)) == 255


def test_the_palette_tells_classes_apart():
    colours = palette(64)
    assert len({tuple(colour) for colour in colours.tolist()}) == 64
    assert palette(150).shape == (150, 3)
    assert np.array_equal(palette(5), colours[:5])  # a class keeps its colour


@pytest.mark.parametrize("level", [0.0, 0.05, 0.95, 1.0])
def test_every_class_is_seen_on_dark_and_light(level):
    photo = np.full((1, 1, 3), level)
    for colour in palette(24):
        changed = overlay(photo, colour[None, None]).astype(int) - round(255 * level)
        assert np.abs(changed).max() >= 18, colour


def test_what_is_ignored_is_striped():
    labels = np.full((16, 16), IGNORED)
    labels[:8] = 2
    painted = paint_labels(labels, 5, IGNORED)
    assert {tuple(x) for x in painted[:8].reshape(-1, 3).tolist()} == {tuple(palette(5)[2].tolist())}
    greys = {tuple(x) for x in painted[8:].reshape(-1, 3).tolist()}
    assert greys == {(150, 150, 150), (110, 110, 110)}
    assert not greys & {tuple(x) for x in palette(150).tolist()}
    assert np.array_equal(paint_labels(np.array([[3, -1]]), 5, 3)[0, 0], [150] * 3)  # ignored though below the count


def test_an_overlay_is_between_both():
    mixed = overlay(np.ones((2, 2, 1)), np.zeros((2, 2, 3), np.uint8))
    assert mixed.shape == (2, 2, 3)
    assert set(mixed.ravel().tolist()) == {128}


def test_a_figure_of_panels():
    truth, found = np.array([[0, IGNORED], [1, 1]]), np.array([[0, 0], [1, 4]])
    figure = draw_panels([(np.zeros((2, 2, 3)), truth, found), (np.zeros((2, 2, 1)), truth, found)], NAMES, IGNORED)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "truth", "prediction"]
    assert len(figure.axes) == 6
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ground", "red", "never", "ignored"]


@pytest.mark.parametrize("field", ["every_n_epochs", "images"])
def test_panels_out_of_range(field):
    with pytest.raises(ConfigError, match=rf"SegmentationPanels {field}=0 must be at least 1"):
        SegmentationPanels(**{field: 0})


def test_too_many_classes_have_no_matrix():
    matrix = ConfusionMatrix()
    for classes, counted in ((1000, True), (1001, False)):
        matrix.on_validation_start(None, SimpleNamespace(num_classes=classes, device="cpu"))
        assert (matrix.matrix is not None) == counted
