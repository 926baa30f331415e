"""The same seed gives the same bits: run again, killed and resumed, in one process and in two."""

import os
import subprocess
import sys

import pytest
import torch

from biformer_lit.cli import main

LAST = "runs/tiny/version_{}/checkpoints/last.ckpt"


def fit(root, folder, *options):
    command = [sys.executable, "-m", "biformer_lit", "fit", "--config", str(root / "tests/configs/tiny.yaml")]
    command += ["--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.sync_batchnorm", "true"]
    return subprocess.run(
        [*command, "--monitoring", "false", *options],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def weights(folder, version):
    state = torch.load(folder / LAST.format(version), weights_only=True)
    return {**state["state_dict"], **{f"raw {name}": value for name, value in state["current_model_state"].items()}}


def check_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def test_twice_the_same_and_torch_s_deterministic_algorithms_change_nothing(root, tmp_path, monkeypatch):
    """So ours are deterministic on the CPU as they are."""
    monkeypatch.chdir(tmp_path)
    tiny = ["fit", "--config", str(root / "tests/configs/tiny.yaml"), "--monitoring", "false"]
    try:
        for options in ([], [], ["--trainer.deterministic", "true"]):
            main([*tiny, *options])
    finally:
        torch.use_deterministic_algorithms(False)
    wanted = weights(tmp_path, 0)
    check_same(weights(tmp_path, 1), wanted)
    check_same(weights(tmp_path, 2), wanted)


@pytest.mark.slow
def test_two_processes_again_and_killed_and_resumed(root, tmp_path):
    """BatchNorm over both, averaged weights; the kill comes in the second epoch."""
    for _ in range(2):
        done = fit(root, tmp_path)
        assert done.returncode == 0, done.stderr
    check_same(weights(tmp_path, 1), weights(tmp_path, 0))

    (tmp_path / "kill.yaml").write_text("""
trainer:
  callbacks:
    - class_path: biformer_lit.callbacks.EMA
      init_args: {decay: 0.9}
    - class_path: killer.Killer
      init_args: {epoch: 1, batch: 2}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {filename: last, enable_version_counter: false, every_n_train_steps: 5}
""")
    killed = fit(root, tmp_path, "--config", "kill.yaml")
    assert killed.returncode not in (0, 2)
    assert torch.load(tmp_path / LAST.format(2), weights_only=True)["global_step"] == 5
    resumed = fit(root, tmp_path, "--ckpt_path", LAST.format(2))
    assert resumed.returncode == 0, resumed.stderr
    check_same(weights(tmp_path, 3), weights(tmp_path, 0))
