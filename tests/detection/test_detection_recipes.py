"""Every recipe of detection parses, trains a step on made-up images, and holds the figures it is named after."""

import datasets
import numpy as np
import pytest
import torch
from helpers.dry_run import dry_run
from PIL import Image

from biformer_lit.cli import parse_fit
from biformer_lit.profiling import measure_config
from biformer_lit.recipes import recipes

COCO = [name for name in recipes() if name.startswith("coco_")]
LIGHT = ["--model.backbone.depths", "[1,1,1,1]", "--model.backbone.dims", "[32,32,64,64]"]
LIGHT += ["--model.backbone.regions", "4"]  # 16 do not fit into maps of so small images
LIGHT += ["--model.backbone.full_heads", "2", "--model.backbone.head_dim", "32", "--model.head_channels", "16"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Made-up photographs with objects, as Parquet, in the columns of COCO on the hub, and polygons."""
    folder = tmp_path_factory.mktemp("photographs")
    noise = np.random.default_rng(0)
    for split, count in (("train", 10), ("validation", 2)):
        images = [Image.fromarray(noise.integers(0, 256, (120, 160, 3), dtype=np.uint8)) for _ in range(count)]
        objects = []
        for _ in range(count):
            corners, sides = noise.uniform(0, 80, (3, 2)), noise.uniform(20, 40, (3, 2))
            pairs = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]
            objects.append(
                {
                    "bbox": np.concatenate([corners, sides], 1).tolist(),
                    "category": [0, 1, 79],
                    "segmentation": [[[a, b, c, b, c, d, a, d]] for a, b, c, d in pairs],
                }
            )
        table = datasets.Dataset.from_dict({"image": images, "objects": objects})
        table.cast_column("image", datasets.Image()).to_parquet(str(folder / f"{split}.parquet"))
    return folder


def test_all_detection_recipes_are_here():
    heads = {f"coco_{head}_{size}" for head in ("retinanet", "mask_rcnn") for size in ("small", "base")}
    assert set(COCO) == heads
    assert {"digit_scenes_detection", "bccd"} <= set(recipes())


@pytest.mark.parametrize("name", [*COCO, "bccd"])
def test_a_step_of_a_recipe_on_photographs(name, photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [] if name == "bccd" else ["--data.image_size", "128"]
    cli = dry_run(name, "--data.dataset", str(photographs), "--data.num_classes", "80", *LIGHT, *small)
    metrics = cli.trainer.callback_metrics
    assert torch.isfinite(metrics["train/loss"])
    assert 0 <= metrics["val/map"] <= 1
    assert ("val/mask_map" in metrics) == ("mask" in name)


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_a_step_of_the_embedded_scenes(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--data.scenes.train", "4", "--data.scenes.validation", "2", "--data.scenes.test", "1"]
    cli = dry_run("digit_scenes_detection", *few, "--model.head", head)
    assert cli.model.num_classes == 10
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    parameters, macs = measure_config(parse_fit(["--config", "digit_scenes_detection", "--model.head", head]))
    assert parameters == sum(p.numel() for p in cli.model.net.parameters())
    assert macs > 1e7


@pytest.mark.parametrize("name", COCO)
def test_coco_recipes_hold_the_released_hyper_parameters(name):
    config = parse_fit(["--config", name])
    model, data, trainer = config["model"]["init_args"], config["data"]["init_args"], config["trainer"]
    backbone, optim, size = model["backbone"], model["optim"], name.rpartition("_")[2]
    assert backbone["name"] == f"biformer_{size}"
    assert (backbone["regions"], backbone["topk"], backbone["padding"]) == (16, [1, 4, 16, "all"], "masked")
    assert backbone["drop_path_rate"] == {"small": 0.2, "base": 0.3}[size]
    assert model["head"] == name.removeprefix("coco_").rpartition("_")[0]
    assert (model["head_channels"], model["head_norm"], model["frozen_batch_norm"]) == (256, "none", True)
    assert (optim["name"], optim["lr"], optim["lr_batch"]) == ("adamw", 1e-4, 16)
    assert optim["weight_decay"] == (1e-4 if "retinanet" in name else 0.05)
    assert (optim["schedule"], optim["warmup_steps"], optim["warmup_lr"]) == ("step", 500, 1e-7)
    assert [round(share * trainer["max_epochs"], 3) for share in optim["milestones"]] == [8, 11]
    assert (data["image_size"], data["max_size"], data["batch_size"]) == (800, 1333, 2)
    assert data["augmentation"] == {
        "short_sides": [], "flip": 0.5, "flip_vertical": 0.0, "photometric": False, "crop": False, "scale": None,
    }  # fmt: skip
    assert (trainer["precision"], trainer["max_epochs"]) == ("bf16-mixed", 12)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("coco_retinanet_small", 35.3), ("coco_retinanet_base", 67.0),
     ("coco_mask_rcnn_small", 45.2), ("coco_mask_rcnn_base", 76.3)],
)  # fmt: skip
def test_size_of_the_networks(name, millions):
    """Our own count; the heads' parts of it are checked against published networks in test_detector."""
    parameters, _ = measure_config(parse_fit(["--config", name, "--data.num_classes", "80"]))
    assert parameters / 1e6 == pytest.approx(millions, abs=0.05)
