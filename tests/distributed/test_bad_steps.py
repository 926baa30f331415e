"""A loss that is not finite in one process of two: both decide alike."""

import json
import os
import subprocess
import sys

import pytest
import torch

CONFIG = """
trainer:
  strategy: ddp
  devices: 2
  max_epochs: 1
  callbacks:
    - class_path: helpers.poison.Poison
      init_args: {batches: [1], rank: 1}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: last}
"""


def fit(root, folder, *options):
    (folder / "two.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    return subprocess.run(
        [*command, "--config", "two.yaml", "--monitoring", "false", *options],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def bad_steps(folder):
    lines = (folder / "runs/tiny/version_0/bad_steps.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_both_stop(root, tmp_path):
    done = fit(root, tmp_path)
    assert done.returncode == 2, done.stderr
    assert "step 1 (epoch 0): the loss of rank 1 is nan for rows " in done.stderr
    assert "Traceback" not in done.stderr
    (step,) = bad_steps(tmp_path)
    assert [(batch["rank"], len(batch["rows"])) for batch in step["batches"]] == [(1, 64)]


@pytest.mark.slow
def test_both_leave_the_step_out(root, tmp_path):
    done = fit(root, tmp_path, "--model.optim.on_bad_loss", "skip")
    assert done.returncode == 0, done.stderr
    assert len(bad_steps(tmp_path)) == 1
    end = torch.load(tmp_path / "runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert end["global_step"] == 4
    assert end["skipped_steps"] == 1
    assert all(bool(torch.isfinite(value).all()) for value in end["state_dict"].values())
