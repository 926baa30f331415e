"""Every recipe parses, trains a step on made-up images, and holds the figures it is named after."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from biformer_lit.cli import main
from biformer_lit.recipes import find_config, read_config, recipes

CLASSIFICATION = [
    name for name, path in recipes().items() if read_config(str(path))["model"]["class_path"] == "ClassificationTask"
]
IMAGENET = [name for name in recipes() if name.startswith("imagenet1k_")]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Made-up photographs of ten classes, as Parquet."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for split, count in (("train", 60), ("validation", 10)):
        pictures = [Image.fromarray(noise.integers(0, 256, (40, 48, 3), dtype=np.uint8)) for _ in range(count)]
        table = datasets.Dataset.from_dict({"image": pictures, "label": [i % 10 for i in range(count)]})
        table = table.cast_column("image", datasets.Image())
        table = table.cast_column("label", datasets.ClassLabel(names=list("abcdefghij")))
        table.to_parquet(str(folder / f"{split}.parquet"))
    return folder


def dry_run(name, images, *more):
    arguments = ["--data.dataset", str(images), "--data.batch_size", "2", "--data.num_workers", "0"]
    arguments += ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"]
    arguments += ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    return main(["fit", "--config", name, *arguments, *more])


def test_all_recipes_are_here():
    assert {
        "digits",
        "cifar10",
        "fashion_mnist",
        *(f"imagenet1k_{size}" for size in ("tiny", "small", "base", "stl")),
    } <= set(recipes())


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_step_of_every_recipe(name, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli = dry_run(name, images)
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert cli.model.num_classes == 10


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_recipes_hold_the_released_hyper_parameters(name, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected_drop_path = {"tiny": 0.1, "small": 0.15, "base": 0.4, "stl": 0.1}[name.rpartition("_")[2]]
    light = ["--model.backbone.depths", "[1,1,1,1]", "--model.backbone.dims", "[32,64,96,128]"]  # settings, not size
    cli = dry_run(name, images, *light)
    task, data = cli.model, cli.datamodule
    config = cli.config["fit"]
    assert task.backbone.name == f"biformer_{name.rpartition('_')[2]}"
    assert task.backbone.drop_path_rate == expected_drop_path
    assert task.optim.scaled_lr(1024) == 1e-3
    assert (task.optim.name, task.optim.weight_decay, task.optim.betas) == ("adamw", 0.05, (0.9, 0.999))
    assert (task.optim.warmup_epochs, task.optim.warmup_lr, task.optim.min_lr) == (5, 1e-6, 1e-5)
    assert (task.mixing.mixup, task.mixing.cutmix, task.mixing.prob, task.mixing.switch_prob) == (0.8, 1.0, 1.0, 0.5)
    assert task.label_smoothing == 0.1
    augmentation = data.augmentation
    assert (augmentation.rand_augment, augmentation.color_jitter) == ("rand-m9-mstd0.5-inc1", 0.4)
    assert (augmentation.erasing, augmentation.repeats, augmentation.interpolation) == (0.25, 3, "bicubic")
    assert (data.image_size, data.crop_pct) == (224, 0.875)
    ema = config.trainer.callbacks[0]
    assert (ema.init_args.decay, ema.init_args.evaluate) == (0.99996, "raw")


def test_released_batch_and_epochs():
    for name in IMAGENET:
        settings = read_config(str(recipes()[name]))
        assert settings["data"]["init_args"]["batch_size"] == 128
        assert settings["trainer"]["max_epochs"] == 300
    assert "batch_size: 128 # per process: 8 processes make 1024" in recipes()["imagenet1k_tiny"].read_text()


def test_a_file_of_the_same_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("cifar10").endswith("recipes/cifar10.yaml")
    (tmp_path / "cifar10").write_text("")
    assert find_config("cifar10") == "cifar10"
