"""A callback that writes down what its process saw and drew, and a run of two processes that have it."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback
from torch._dynamo.utils import counters


class Recorder(Callback):
    """Writes `rank0.json`, `rank1.json`, ... into the working folder at the end of training."""

    def __init__(self) -> None:
        self.rows = []
        self.draws = []
        self.evaluated = []
        self.pixels = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rows.append(batch["index"].tolist())
        self.pixels.append(float(batch["image"].sum()))
        self.draws.append([random.random(), float(np.random.rand()), float(torch.rand(()))])  # noqa: NPY002

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.evaluated.append(batch["index"].tolist())

    def on_train_end(self, trainer, pl_module):
        weights = [float(p.detach().double().norm()) for p in pl_module.net.parameters()]
        report = {"rows": self.rows, "draws": self.draws, "evaluated": self.evaluated, "weights": weights}
        report["accuracy"] = float(trainer.callback_metrics["val/acc1"])
        report["dtype"] = str(next(pl_module.net.parameters()).dtype)
        report["graphs"], report["breaks"] = counters["stats"]["unique_graphs"], len(counters["graph_break"])
        Path(f"rank{trainer.global_rank}.json").write_text(json.dumps(report))


def train_two_ranks(root, folder, *options):
    """Train the tiny network for an epoch in two processes; what each of them wrote down."""
    (folder / "ddp.yaml").write_text("""
trainer:
  strategy: ddp
  devices: 2
  max_epochs: 1
  callbacks:
    - class_path: recorder.Recorder
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: last}
""")
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    environment = os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--config", "ddp.yaml", *options],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
