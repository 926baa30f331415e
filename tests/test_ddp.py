"""Two processes on the CPU: each its own rows and its own random numbers, the same weights, the same metrics."""

import json
import os
import subprocess
import sys

import datasets
import pytest
import torch
from data.objects import blocks, boxes_of, objects_of, table, telling
from data.test_segmentation import stored
from lightning.pytorch import Trainer
from PIL import Image
from recorder import train_two_ranks
from shapes import SMALL

from biformer_lit import DetectionTask, load_task
from biformer_lit.cli import main
from biformer_lit.data import DetectionDataModule
from biformer_lit.tasks import Optimization


@pytest.fixture(scope="module")
def ranks(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    reports = train_two_ranks(root, folder, "--trainer.limit_val_batches", "1.0", "--data.eval_batch_size", "13")
    return folder, reports


def test_each_rank_has_its_own_rows_and_its_own_numbers(ranks):
    _, (first, second) = ranks
    rows = [{row for batch in report["rows"] for row in batch} for report in (first, second)]
    assert len(rows[0]) == len(rows[1]) == 4 * 64
    assert not rows[0] & rows[1]
    for step in range(4):
        assert all(a != b for a, b in zip(first["draws"][step], second["draws"][step], strict=True))


def test_the_weights_are_the_same_on_all_ranks(ranks):
    _, (first, second) = ranks
    assert first["weights"] == second["weights"]


def test_each_row_is_evaluated_once_and_the_metric_is_the_whole_set_s(ranks, root, monkeypatch):
    folder, (first, second) = ranks
    rows = [row for report in (first, second) for batch in report["evaluated"] for row in batch]
    assert len(rows) == len(set(rows)) == 200
    assert first["accuracy"] == second["accuracy"]
    monkeypatch.chdir(folder)
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4
    config = ["--config", str(root / "tests/configs/tiny.yaml"), "--trainer.callbacks", "[]"]
    alone = main(["validate", *config, "--ckpt_path", last, "--trainer.limit_val_batches", "1.0"])
    assert float(alone.trainer.callback_metrics["val/acc1"]) == pytest.approx(first["accuracy"])


EVALUATION = """
import json, sys
from lightning.pytorch import Trainer
from biformer_lit import load_task
from biformer_lit.data import DetectionDataModule
from biformer_lit.tasks import Optimization

options = dict(logger=False, enable_progress_bar=False, use_distributed_sampler=False)
run = Trainer(accelerator="cpu", devices=2, strategy="ddp", **options)
data = DetectionDataModule(dataset="data", image_size=48, max_size=96, eval_batch_size=2, num_workers=0)
run.validate(load_task("detector.ckpt"), datamodule=data, verbose=False)
figures = {name: float(value) for name, value in run.callback_metrics.items()}
open(f"rank{run.global_rank}.json", "w").write(json.dumps(figures))
"""


def test_objects_are_scored_as_by_one_process(root, tmp_path, monkeypatch):
    """Boxes and masks in five images, of which one process has three; in one there is nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows, images = [], []
    for row, count in enumerate((3, 2, 0, 3, 1)):
        boxes = boxes_of(row)[:count]
        masks = [stored(Image.fromarray(mask)) for mask in blocks(boxes)]
        rows.append({**{name: values[:count] for name, values in objects_of(row).items()}, "mask": masks})
        images.append(telling(boxes, range(count)))
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        table(rows, images, pictures="mask").to_parquet(str(tmp_path / f"data/{split}.parquet"))

    optim = Optimization(name="muon", lr=4e-3, lr_batch=0, warmup_steps=2)
    head = {"head": "mask_rcnn", "head_channels": 16, "head_norm": "group", "anchor_scale": 4.0}
    task = DetectionTask(SMALL, optim=optim, score_threshold=0.01, **head)
    data = DetectionDataModule(
        dataset="data", image_size=48, max_size=96, batch_size=5, eval_batch_size=2, num_workers=0
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    run = Trainer(max_epochs=20, check_val_every_n_epoch=20, accelerator="cpu", enable_checkpointing=False, **quiet)
    run.fit(task, datamodule=data)
    run.save_checkpoint("detector.ckpt")
    run.validate(load_task("detector.ckpt"), datamodule=data, verbose=False)
    alone = {name: float(value) for name, value in run.callback_metrics.items()}

    (tmp_path / "two.py").write_text(EVALUATION)
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": "cache"}
    done = subprocess.run(
        [sys.executable, "two.py"], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == pytest.approx(alone, abs=1e-9)
    assert alone["val/map"] > 0.01
    assert alone["val/mask_map"] > 0.01
