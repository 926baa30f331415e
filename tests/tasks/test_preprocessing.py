"""Checkpoints say how images were prepared, and evaluation prepares them so."""

import pytest
import torch
from helpers.pets import NAMES, PREPARED, photo, save, split_of, trainer

import biformer_lit
from biformer_lit import CheckpointError, ClassificationTask, image_transform, load_task
from biformer_lit.checkpoints.saved_weights import read_weights
from biformer_lit.cli import main
from biformer_lit.data import Augmentation, ClassificationDataModule, DetectionDataModule, SegmentationDataModule
from biformer_lit.data.preprocessing import check_preprocessing
from biformer_lit.routing.photo import find_preprocessing

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*log_every_n_steps", "ignore:Be aware that when using"
)
OWN = {
    "kind": "classification",
    "image_size": 24,
    "crop_pct": 1.0,
    "interpolation": "bilinear",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "value_range": None,
    "bands": None,
}


@pytest.fixture
def old(root):
    """A classifier of cat, dog and fish that makes no mistake, of version 0.1."""
    return root / "tests/fixtures/v0_1/classification/best.ckpt"


@pytest.fixture
def new(tmp_path, old):
    """The same, as it is saved now."""
    contents = torch.load(old, weights_only=True)
    torch.save({**contents, "preprocessing": OWN}, tmp_path / "new.ckpt")
    return str(tmp_path / "new.ckpt")


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "pets", train=split_of(NAMES, NAMES, count=16), test=split_of(NAMES, NAMES))


def plain(folder, **settings):
    """A data module of defaults: 224 pixels, ImageNet's mean."""
    return ClassificationDataModule(dataset=folder, num_workers=0, batch_size=12, **settings)


@pytest.mark.parametrize("door", ["load_task", "weights", "ckpt_path"])
def test_it_is_used_by_default(new, folder, door, caplog):
    known = torch.load(new, weights_only=True)["hyper_parameters"]
    settings = {name: known[name] for name in ("backbone", "optim", "mixing", "label_smoothing")}
    task = load_task(new) if door == "load_task" else ClassificationTask(**settings)
    if door == "weights":
        task = ClassificationTask(**settings, weights=new)
    data, run = plain(folder), trainer()
    run.test(task, datamodule=data, ckpt_path=new if door == "ckpt_path" else None)
    assert data.preprocessing() == OWN
    assert float(run.callback_metrics["test/acc1"]) == 1.0
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(batch["image"][0], image_transform(OWN)(photo("cat", 0)))
    assert "prepared" not in caplog.text


def test_what_is_given_counts_and_is_said(new, folder, caplog):
    data = plain(folder, image_size=32, mean=(0.5, 0.5, 0.5), augmentation=Augmentation(hflip=0.0))
    trainer().test(load_task(new), datamodule=data)
    assert data.preprocessing() == {**OWN, "image_size": 32}
    said = [record.message for record in caplog.records if "prepared as given" in record.message]
    assert len(said) == 1
    assert "image_size 32 instead of 24; leave" in said[0]


def test_version_0_1_is_used_as_given_with_one_warning(old, folder, caplog):
    data = plain(folder, **PREPARED)
    run = trainer()
    run.test(load_task(old), datamodule=data)
    assert float(run.callback_metrics["test/acc1"]) == 1.0
    assert len([r for r in caplog.records if "does not say how images were prepared" in r.message]) == 1
    assert load_task(old).preprocessing is None


def command(stage, new, *words):
    data = ["--data", "ClassificationDataModule", "--data.num_workers", "0", "--data.batch_size", "12"]
    quiet = ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    return main([stage, "--model", "ClassificationTask", *data, *quiet, "--ckpt_path", new, *words])


@pytest.mark.filterwarnings("ignore:--ckpt_path brings", "ignore:The dirpath has changed")
def test_on_the_command_line_what_is_typed_or_in_a_config_counts(new, folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    ran = command("test", new, "--data.dataset", folder)
    assert ran.datamodule.preprocessing() == OWN
    assert float(ran.trainer.callback_metrics["test/acc1"]) == 1.0
    assert "prepared as given" not in caplog.text
    (tmp_path / "some.yaml").write_text(
        "data:\n  class_path: ClassificationDataModule\n  init_args: {crop_pct: 0.875}\n"
    )
    typed = ["--data.dataset", folder, "--data.image_size", "224", "--data.augmentation.interpolation", "bicubic"]
    ran = command("validate", new, "--config", "some.yaml", *typed)
    assert ran.datamodule.preprocessing() == {**OWN, "image_size": 224, "interpolation": "bicubic", "crop_pct": 0.875}
    assert "image_size 224 instead of 24" in caplog.text
    assert "augmentation.interpolation bicubic instead of bilinear" in caplog.text
    assert "crop_pct 0.875 instead of 1.0" in caplog.text


def test_training_keeps_it(folder, tmp_path, old):
    known = torch.load(old, weights_only=True)["hyper_parameters"]
    task = ClassificationTask(**{name: known[name] for name in ("backbone", "optim", "mixing", "label_smoothing")})
    data = plain(folder, image_size=24, crop_pct=1.0, val_fraction=0.25)
    run = trainer(limit_train_batches=1, limit_val_batches=0)
    run.fit(task, datamodule=data)
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = load_task(tmp_path / "run.ckpt")
    assert again.preprocessing == data.preprocessing()
    assert again.class_names == NAMES
    assert find_preprocessing(read_weights(tmp_path / "run.ckpt")).size == 24
    biformer_lit.convert_checkpoint(tmp_path / "run.ckpt", tmp_path / "run.safetensors")
    converted = read_weights(tmp_path / "run.safetensors").origin
    assert converted.class_names == tuple(NAMES)
    assert converted.preprocessing == data.preprocessing()


def test_dense_tasks_have_their_own():
    data = SegmentationDataModule(eval_size=64)
    stored = {**data.preprocessing(), "mean": [0.1, 0.2, 0.3], "eval_size": 128, "value_range": [0, 4095]}
    assert data.use_preprocessing(stored, "here") == {"eval_size": (64, 128)}
    assert data.mean == (0.1, 0.2, 0.3)
    assert data.rendering.value_range == (0, 4095)
    assert image_transform(stored)(photo("cat").resize((60, 30))).shape == (3, 128, 256)
    found = DetectionDataModule()
    found.use_preprocessing({**found.preprocessing(), "image_size": 48, "max_size": 60}, "here")
    assert (found.image_size, found.max_size) == (48, 60)
    assert image_transform(found.preprocessing())(photo("cat").resize((60, 30))).shape == (3, 30, 60)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 10**9},
        {"std": [0, 1, 1]},
        {"mean": ["a"] * 3},
        {"crop_pct": 1e-9},
        {"kind": ["classification"]},
        {"interpolation": "x"},
    ],
)
def test_hostile_values_are_refused(change):
    with pytest.raises(CheckpointError, match=r"bad\.ckpt: its preprocessing"):
        check_preprocessing({**OWN, **change}, "bad.ckpt")


def test_what_version_0_1_called_the_kind_is_understood():
    earlier = {"targets": "classes"} | {name: value for name, value in OWN.items() if name != "kind"}
    assert check_preprocessing(earlier, "early.ckpt") == OWN
    assert image_transform(earlier)(photo("cat")).shape == (3, 24, 24)
