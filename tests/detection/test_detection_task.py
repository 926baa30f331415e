"""The detection task, from Python and from the command line."""

import contextlib
import io
import json

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shapes import SMALL

from biformer_lit import ConfigError, DataError, DetectionTask, load_task
from biformer_lit.callbacks import TrialReport
from biformer_lit.cli import main, parse_fit
from biformer_lit.data import DetectionAugmentation, DetectionDataModule
from biformer_lit.data.embedded.scenes import Scenes
from biformer_lit.profiling import measure_config
from biformer_lit.tasks import Optimization

SCENES = {"image_size": 64, "digits": [1, 2], "digit_size": [20, 32], "clutter": 0.0, "train": 16, "validation": 6}
OPTIM = Optimization(name="muon", lr=4e-3, lr_batch=0, warmup_steps=2)
FIGURES = {"val/map", "val/map_50", "val/map_75", "val/mar_1", "val/mar_10", "val/mar_100"}


def task(**options):
    given = {"optim": OPTIM, "head_channels": 16, "head_norm": "group", "anchor_scale": 6.0, **options}
    return DetectionTask(SMALL, **given)


def data(**options):
    scenes = Scenes(**{**SCENES, "test": 4})
    given = {"image_size": 64, "max_size": 64, "batch_size": 4, "eval_batch_size": 3, "num_workers": 0, **options}
    return DetectionDataModule(scenes=scenes, **given)


def trainer(folder, **options):
    return Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False, **{"max_epochs": 1, "enable_checkpointing": False, **options},
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Scenes learnt by heart, and what was logged; validation sees them too."""
    folder = tmp_path_factory.mktemp("trained")
    run = trainer(folder, max_epochs=20, check_val_every_n_epoch=20)
    detection = task()
    run.fit(detection, datamodule=data(val_split="train", augmentation=DetectionAugmentation(flip=0.0)))
    run.save_checkpoint(folder / "a.ckpt")
    return detection, dict(run.callback_metrics), folder / "a.ckpt"


def test_it_learns_something(trained):
    metrics = trained[1]
    assert metrics.keys() >= FIGURES | {"train/loss", "train/loss_classifier", "train/loss_box_reg"}
    assert metrics["val/map_50"] > 0.1  # an untrained one finds nothing
    total = metrics["train/loss_classifier"] + metrics["train/loss_box_reg"]
    assert metrics["train/loss"] == pytest.approx(float(total), rel=1e-5)


def test_classes_of_the_truth_are_logged_and_make_the_mean(trained):
    metrics = trained[1]
    classes = [key for key in metrics if key.startswith("val/ap/")]
    assert 5 < len(classes) <= 10
    assert torch.stack([metrics[key] for key in classes]).mean() == pytest.approx(float(metrics["val/map"]), abs=1e-12)
    assert not any(value < 0 for value in metrics.values())


def test_batches_do_not_change_the_figures(trained, tmp_path):
    for size in (1, 16):
        validation = data(val_split="train", eval_batch_size=size)
        found = trainer(tmp_path).validate(trained[0], datamodule=validation, verbose=False)
        assert found[0]["val/map"] == pytest.approx(float(trained[1]["val/map"]), abs=1e-6)


def test_checkpoints_come_back(trained):
    detection, _, path = trained
    restored = load_task(path)
    assert isinstance(restored, DetectionTask)
    assert restored.class_names == list("0123456789")
    assert all(torch.equal(v, detection.state_dict()[k]) for k, v in restored.state_dict().items())
    other = task(num_classes=10, weights=str(path))
    other.configure_model()
    assert all(torch.equal(v, detection.net.state_dict()[k]) for k, v in other.net.state_dict().items())


CONFIG = {
    "model": {
        "class_path": "DetectionTask",
        "init_args": {
            "backbone": {key: value for key, value in vars(SMALL).items() if value is not None},
            "head_channels": 16,
            "head_norm": "group",
            "anchor_scale": 6.0,
            "optim": {"name": "muon", "lr": 4e-3, "lr_batch": 0, "warmup_steps": 2},
        },
    },
    "data": {
        "class_path": "DetectionDataModule",
        "init_args": {
            "scenes": {**SCENES, "test": 4},
            "image_size": 96,  # not as they are stored
            "max_size": 96,
            "batch_size": 4,
            "eval_batch_size": 3,
            "num_workers": 0,
        },
    },
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
}


def near_the_truth(_task, batch, _number):
    """What a network that has learnt would find: the truth a little moved, one class of it taken for another."""
    found = []
    for index, truth in zip(batch["index"].tolist(), batch["objects"], strict=True):
        chance = torch.Generator().manual_seed(index)
        count = len(truth["labels"])
        moved = {
            "boxes": truth["boxes"] + 3 * torch.rand((count, 4), generator=chance),
            "labels": truth["labels"].where(truth["labels"] > 2, torch.tensor(9)),
            "scores": torch.rand(count, generator=chance).sort(descending=True).values,
        }
        if "masks" in truth:
            moved["masks"] = truth["masks"].roll(2, 2).bool()
        found.append(moved)
    return {"index": batch["index"], "objects": found}


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_written_files_score_as_the_test_does(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DetectionTask, "predict_step", near_the_truth)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    options = ["--config", "c.yaml", "--model.head", head, "--trainer.logger", "false", "--data.scenes.test", "12"]
    untrained = task(head=head, num_classes=10)
    untrained.configure_model()
    torch.save({"state_dict": {f"net.{k}": v for k, v in untrained.net.state_dict().items()}}, tmp_path / "a.ckpt")
    options += ["--model.weights", "a.ckpt"]
    logged = main(["test", *options]).trainer.callback_metrics
    main(["predict", *options, "--predictions.path", "found"])
    results = json.loads((tmp_path / "found/detections.json").read_text())
    kinds = {"bbox": "", "segm": "mask_"} if head == "mask_rcnn" else {"bbox": ""}
    for kind, name in kinds.items():
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(tmp_path / "found/annotations.json"))
            if kind == "segm":
                results = [{key: value for key, value in entry.items() if key != "bbox"} for entry in results]
            scores = COCOeval(truth, truth.loadRes(results), kind)
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
        assert 0.1 < scores.stats[0] < 0.9
        for figure, value in zip(["map", "map_50", "map_75", "map_small", "map_medium"], scores.stats, strict=False):
            ours = logged.get(f"test/{name}{figure}")
            assert (ours is None) == (value < 0)
            assert ours is None or ours.item() == pytest.approx(value, abs=1e-9)
    assert len(list((tmp_path / "found/overlays").iterdir())) == 12
    assert ("test/mask_map" in logged) == (head == "mask_rcnn")


def test_masks_that_are_not_read_are_asked_for(tmp_path):
    with pytest.raises(ConfigError, match=r"data.init_args.masks=False, but head='mask_rcnn' learns masks"):
        trainer(tmp_path).fit(task(head="mask_rcnn"), datamodule=data(masks=False))


def test_costs_of_a_config(tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    config = ["--config", str(tmp_path / "c.yaml")]
    detection = task(num_classes=10)
    detection.configure_model()
    plain = measure_config(parse_fit(config))
    assert plain[0] == sum(p.numel() for p in detection.net.parameters())
    wide = measure_config(parse_fit([*config, "--model.head_channels", "32"]))
    large = measure_config(parse_fit([*config, "--data.image_size", "192", "--data.max_size", "192"]))
    masks = measure_config(parse_fit([*config, "--model.head", "mask_rcnn"]))
    other = measure_config(parse_fit([*config, "--model.timm_backbone", "resnet18"]))
    assert wide > plain
    assert large[0] == plain[0]
    assert large[1] > 3 * plain[1]
    assert masks[1] > plain[1]
    assert other[0] > plain[0] + 1e7


def test_a_figure_that_nothing_can_be_measured_on_is_no_divergence(tmp_path, caplog):
    """A split of which the first batch shows no object that counts."""
    report = TrialReport(str(tmp_path / "trial"), "val/map", "max", "best", "digest", 1, 1)
    run = trainer(tmp_path, callbacks=[report], limit_train_batches=1)
    crowded = data()
    detection = task()

    def without_truth(batch, name):
        for objects in batch["objects"]:
            objects["crowd"] = torch.ones_like(objects["crowd"])
        return DetectionTask.evaluate(detection, batch, name)

    detection.evaluate = without_truth
    with pytest.raises(
        DataError, match=r"^val/map cannot be measured in epoch 1: the validation data holds nothing th"
    ):
        run.fit(detection, datamodule=crowded)
    assert json.loads((tmp_path / "trial/failure.json").read_text())["kind"] == "error"
    assert detection.unmeasured == {"val/map"}
    assert "val/map: nothing in the val data could be measured, as it holds nothing that counts" in caplog.text
