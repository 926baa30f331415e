"""Every recipe of segmentation parses, trains a step on made-up images, and holds the figures it is named after."""

import datasets
import numpy as np
import pytest
import torch
from helpers.dry_run import dry_run
from PIL import Image

from biformer_lit.cli import parse_fit
from biformer_lit.profiling import measure_config
from biformer_lit.recipes import recipes

ADE20K = [name for name in recipes() if name.startswith("ade20k_")]
CAMVID = ["camvid", "camvid_scratch"]
LIGHT = ["--model.backbone.depths", "[1,1,1,1]", "--model.backbone.dims", "[32,32,64,64]"]
LIGHT += ["--model.backbone.full_heads", "2", "--model.backbone.head_dim", "32", "--model.head_channels", "16"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Made-up photographs with label maps, as Parquet."""
    folder = tmp_path_factory.mktemp("scenes")
    noise = np.random.default_rng(0)
    for split, count in (("train", 16), ("validation", 2)):
        images = [Image.fromarray(noise.integers(0, 256, (360, 480, 3), dtype=np.uint8)) for _ in range(count)]
        masks = [Image.fromarray(noise.integers(0, 11, (360, 480), dtype=np.uint8)) for _ in range(count)]
        table = datasets.Dataset.from_dict({"image": images, "annotation": masks})
        table = table.cast_column("image", datasets.Image()).cast_column("annotation", datasets.Image())
        table.to_parquet(str(folder / f"{split}.parquet"))
    return folder


def test_all_segmentation_recipes_are_here():
    heads = {f"ade20k_{head}_{size}" for head in ("fpn", "upernet") for size in ("small", "base")}
    assert {"digit_scenes_segmentation", *CAMVID, *heads} <= set(recipes())


@pytest.mark.parametrize("name", [*ADE20K, *CAMVID])
def test_a_step_of_a_recipe_on_photographs(name, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [] if name in CAMVID else ["--data.image_size", "160", "--data.eval_size", "160"]  # settings, not size
    small += ["--data.absent_classes", "allow"]  # for the masks have few of the recipe's classes
    cli = dry_run(name, "--data.dataset", str(scenes), *LIGHT, *small)
    metrics = cli.trainer.callback_metrics
    assert torch.isfinite(metrics["train/loss"])
    assert 0 <= metrics["val/miou"] <= 1
    assert cli.model.num_classes == (11 if name in CAMVID else 150)


def test_a_step_of_the_embedded_scenes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--data.scenes.train", "4", "--data.scenes.validation", "2", "--data.scenes.test", "1"]
    cli = dry_run("digit_scenes_segmentation", *few)
    assert cli.model.num_classes == 11
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    parameters, macs = measure_config(parse_fit(["--config", "digit_scenes_segmentation"]))
    assert parameters == sum(p.numel() for p in cli.model.net.parameters())
    assert macs > 1e7


@pytest.mark.parametrize("name", ADE20K)
def test_ade20k_recipes_hold_the_released_hyper_parameters(name):
    config = parse_fit(["--config", name])
    model, data, trainer = config["model"]["init_args"], config["data"]["init_args"], config["trainer"]
    backbone, optim, size = model["backbone"], model["optim"], name.rpartition("_")[2]
    assert backbone["name"] == f"biformer_{size}"
    assert (backbone["regions"], backbone["topk"], backbone["padding"]) == (8, [1, 4, 16, "all"], "masked")
    assert (optim["name"], optim["min_lr"], model["head_dropout"], model["head_norm"]) == ("adamw", 0, 0.1, "batch")
    found = {
        "head": model["head"],
        "drop_path": backbone["drop_path_rate"],
        "lr": optim["lr"],
        "batch": optim["lr_batch"],
        "decay": optim["weight_decay"],
        "schedule": optim["schedule"],
        "warmup": optim["warmup_steps"],
        "steps": trainer["max_steps"],
        "channels": model["head_channels"],
    }
    if "fpn" in name:
        wanted = ["semantic_fpn", {"small": 0.15, "base": 0.3}[size], 2e-4, 32, 1e-4, "cosine", 1000, 80_000, 256]
    else:
        wanted = ["upernet", {"small": 0.3, "base": 0.4}[size], 6e-5, 16, 0.01, "linear", 1500, 160_000, 512]
        assert model["auxiliary_weight"] == 0.4
    assert list(found.values()) == wanted
    assert data["batch_size"] == (8 if "fpn" in name else 2)
    assert (data["image_size"], data["num_classes"], data["reduce_zero_label"]) == (512, 150, True)
    assert (trainer["precision"], trainer["sync_batchnorm"]) == ("bf16-mixed", True)


@pytest.mark.parametrize(("name", "millions"), [("ade20k_fpn_small", 29.3), ("ade20k_fpn_base", 60.4)])
def test_size_of_the_networks(name, millions):
    """Our own count; the heads' parts of it are checked against published networks in test_heads."""
    parameters, _ = measure_config(parse_fit(["--config", name]))
    assert parameters / 1e6 == pytest.approx(millions, abs=0.05)
